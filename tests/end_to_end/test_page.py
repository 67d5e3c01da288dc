"""The page: its files, and what it does in a real browser where one is there (Chromium, playwright, axe-core)."""

import html
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from babelclip.models.model import Model
from babelclip.search.index import Index
from babelclip.service.app import create_app
from babelclip.service.state import Service
from babelclip.settings import service_settings, settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src/babelclip/service/page"
AXE = Path(os.environ.get("BABELCLIP_TEST_NODE_MODULES", ROOT / "node_modules")) / "axe-core/axe.min.js"
LANGUAGES = ("en", "de", "fr", "es", "ar", "hi", "ja", "zh")
TRAP = "<img src=x onerror=document.title='caught'>.png"
SCRIPTS = sorted(PAGE.glob("*.js"))


def words(code: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((PAGE / f"words-{code}.json").read_text())
    return found


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_says_everything_that_english_says(code: str) -> None:
    own, english = words(code), words("en")
    assert own.keys() == english.keys()
    for name, text in english.items():
        assert own[name].strip()
        assert set(re.findall(r"\{\w+\}", own[name])) == set(re.findall(r"\{\w+\}", text)), name


def test_every_word_that_the_page_asks_for_exists() -> None:
    asked = set(re.findall(r'data-(?:words|label|hint)="([\w-]+)"', (PAGE / "index.html").read_text()))
    for script in SCRIPTS:
        asked |= set(re.findall(r'\bword\("([\w-]+)"', script.read_text()))
    assert asked <= words("en").keys()


@pytest.mark.parametrize("file", sorted(PAGE.iterdir()), ids=lambda file: file.name)
def test_the_page_loads_nothing_from_elsewhere_and_makes_no_html_of_texts(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)
    for name in re.findall(r'"/page/([\w.-]+)"', text):
        assert (PAGE / name).is_file()


def test_the_privacy_page_says_what_the_docs_say() -> None:
    body = (PAGE / "privacy.html").read_text().partition("<h1>")[2].rpartition("<p><a")[0]
    page = html.unescape(re.sub(r"<[^>]+>", " ", body)).split()
    docs = re.sub(r"^(# |- )", "", (ROOT / "docs/guides/privacy.md").read_text(), flags=re.MULTILINE).split()
    assert page == docs


@pytest.fixture(scope="module")
def served(pair: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a running service with six photos, and a key."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "photos").mkdir()
    for number, name in enumerate(("red.png", "green.png", "blue.png", "white.png", "black.png", TRAP)):
        Image.linear_gradient("L").rotate(60 * number).convert("RGB").save(folder / "photos" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BABELCLIP_HOME", str(folder / "home"))
        settings.cache_clear()
        service_settings.cache_clear()
        with Index.open(folder / "photos.bc", pair) as index:
            index.add_folder(folder / "photos")
        service = Service({"pair": pair}, service_settings(), indexes={"mine": folder / "photos.bc"})
        service_settings.cache_clear()
    _, secret = service.keys.create("page", ("embed", "classify", "search"))
    config = uvicorn.Config(create_app(service), host="127.0.0.1", port=0, ws="none", log_config=None)
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/", secret
    server.should_exit = True
    thread.join()
    socket.close()


def test_files_have_their_types_and_are_not_sent_twice(pair: Model) -> None:
    service_settings.cache_clear()
    with TestClient(create_app(Service({"pair": pair}, service_settings()))) as client:
        page = client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in page.headers["content-security-policy"]
        script = client.get("/page/main.js")
        assert script.headers["content-type"].startswith("text/javascript")
        again = client.get("/page/main.js", headers={"if-none-match": script.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get("/page/..%2fapp.py").status_code == 404


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium here")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def failed(message: Any) -> bool:
    """Whether the console was told of an error; an answer without a key, which the browser tells of, is none."""
    return message.type == "error" and "status of 401" not in message.text


@pytest.fixture
def page(browser: Any, served: tuple[str, str]) -> Iterator[Any]:
    """The page in English, with a key; any error in its console fails the test."""
    address, secret = served
    context = browser.new_context(locale="en", viewport={"width": 1200, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text) if failed(message) else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(address)
    opened.wait_for_selector("html[data-ready]")
    opened.fill("#key-value", secret)
    opened.keyboard.press("Enter")
    opened.wait_for_selector("#key-dialog", state="hidden")
    yield opened
    context.close()
    assert not wrong


def search(page: Any, query: str) -> None:
    page.fill("#query", query)
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")


def test_a_search_shows_photos_and_texts_stay_texts(page: Any) -> None:
    search(page, "a dog")
    for place in range(1, 7):
        page.wait_for_selector(f"#hits li:nth-child({place}) img[src^=blob]")
    assert TRAP in page.locator(".hit .name").all_text_contents()
    assert page.title() == "babelclip"
    page.keyboard.press("Tab")
    page.locator(".hit").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#photo-large[src^=blob]")
    assert page.locator("#photo-facts").text_content().startswith("Hit 2")


def test_words_and_a_picture_are_asked_together(page: Any, tmp_path: Path) -> None:
    Image.new("RGB", (1600, 900), "red").save(tmp_path / "mine.jpg")
    page.fill("#query", "am Strand")
    with page.expect_request("**/v1/search") as sent:
        page.set_input_files("#search-file", tmp_path / "mine.jpg")
    text, picture = sent.value.post_data_json["query"]
    assert text == {"text": "am Strand"}
    assert picture["image"].startswith("data:image/jpeg;base64,")
    page.wait_for_selector(".hit")
    page.click("#tab-api")
    assert "base64,..." in page.locator("#api-code pre").first.text_content()


def test_no_good_match_is_said_plainly(page: Any) -> None:
    def unsure(route: Any) -> None:
        reply = route.fetch()
        data = reply.json()
        for hit in data["data"]:
            hit.update(match="none", confidence=0.1)
        route.fulfill(response=reply, json=data)

    page.route("**/v1/search", unsure)
    search(page, "a dog")
    assert page.locator("#search-notice strong").text_content() == "No good match"
    assert page.locator(".hit .sure").first.text_content() == "No match 10%"


def test_filters_and_words_to_leave_out_are_asked_for_and_counted(page: Any) -> None:
    search(page, "a dog")
    page.click("#filters-open")
    for name, value in {"without": "snow, people", "folder": 'my "best"', "camera": "Canon"}.items():
        with page.expect_request("**/v1/search") as sent:
            page.fill(f"#{name}", value)
            page.keyboard.press("Tab")
    asked = sent.value.post_data_json
    assert asked["query"] == [{"text": "a dog"}, *({"text": text, "weight": -0.5} for text in ("snow", "people"))]
    assert asked["where"] == 'folder:"my \\"best\\"" AND camera:"Canon"'
    assert asked["grouped"] is True
    assert page.locator("#filters-count").text_content() == "3"
    with page.expect_request("**/v1/search") as sent:
        page.check("#varied")
    assert sent.value.post_data_json["diversity"] > 0
    with page.expect_request("**/v1/search") as sent:
        page.click("#filters-clear")
    assert sent.value.post_data_json.keys() == {"query", "index", "k", "page", "grouped", "diversity"}
    page.wait_for_selector(".hit")


def test_more_photos_come_page_by_page_and_near_duplicates_are_told(page: Any) -> None:
    asked: list[int] = []

    def paged(route: Any) -> None:
        asked.append(route.request.post_data_json["page"])
        hit = {"rank": len(asked), "path": f"/x/{len(asked)}.jpg", "photo": None, "score": 0.5}
        alike = [{"path": "/x/copy.jpg", "photo": None}] if len(asked) == 2 else []
        data = [hit | ({"alike": alike} if alike else {})] * (12 if len(asked) == 1 else 1)
        route.fulfill(json={"data": data, "index": "mine"})

    page.route("**/v1/search", paged)
    page.click("#filters-open")
    page.select_option("#count", "12")
    search(page, "a dog")
    page.focus("#more")
    page.keyboard.press("Enter")
    page.wait_for_selector("#hits li:nth-child(13)")
    assert asked == [1, 2]
    assert page.evaluate("document.activeElement.querySelector('.badge').textContent") == "+1"
    assert not page.is_visible("#more")
    page.keyboard.press("Enter")
    page.click("#photo-alike summary")
    assert page.locator("#photo-alike li").all_text_contents() == ["/x/copy.jpg"]


def test_the_keyboard_goes_through_photos_and_comes_back_to_the_one_looked_at(page: Any) -> None:
    search(page, "a dog")
    focused = "document.activeElement.textContent"
    page.locator(".hit").first.focus()
    page.keyboard.press("End")
    assert page.evaluate(focused) == page.locator(".hit").last.text_content()
    page.keyboard.press("Enter")
    page.wait_for_selector("#photo-large[src^=blob]")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    page.wait_for_selector("#photo-dialog", state="hidden")
    # A dialog tells that it was closed a moment after it is.
    page.wait_for_function(f"text => {focused} === text", arg=page.locator(".hit").nth(4).text_content())


def test_what_was_asked_for_without_a_key_is_asked_again_with_one(page: Any, served: tuple[str, str]) -> None:
    page.click("#key")
    page.click("#key-forget")
    page.route("**/v1/search", lambda route: route.fulfill(status=401, json={"error": {"message": "no key"}}), times=1)
    with page.expect_console_message(lambda message: "401" in message.text):
        page.fill("#query", "a dog")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-dialog[open]")
    page.fill("#key-value", served[1])
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")
    assert page.locator("#key-dialog[open]").count() == 0


def test_an_empty_answer_is_said_plainly(page: Any) -> None:
    page.route("**/v1/search", lambda route: route.fulfill(json={"data": [], "index": "mine"}))
    page.fill("#query", "a dog")
    page.keyboard.press("Enter")
    page.get_by_text("Nothing was found.").wait_for()
    assert page.locator(".hit").count() == 0


def test_the_key_is_kept_in_the_tab_alone(page: Any, served: tuple[str, str]) -> None:
    assert page.evaluate("sessionStorage.getItem('key')") == served[1]
    assert served[1] not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")


def test_arabic_is_set_from_right_to_left_and_is_remembered(page: Any) -> None:
    page.select_option("#language", "ar")
    page.wait_for_selector("html[dir=rtl][lang=ar]")
    assert page.locator("#tab-search").text_content() == words("ar")["search"]
    page.reload()
    page.wait_for_selector("html[dir=rtl][data-ready]")


@pytest.mark.parametrize(("theme", "language"), [("light", "en"), ("dark", "ar")])
def test_every_tab_works_and_has_no_serious_finding_of_axe(
    page: Any, tmp_path: Path, theme: str, language: str
) -> None:
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.select_option("#language", language)
    picture = tmp_path / "mine.png"
    Image.new("RGB", (64, 64), "green").save(picture)
    seen = {"home": findings(page)}
    search(page, "a dog")
    page.click("#filters-open")
    page.fill("#without", "snow")
    page.keyboard.press("Tab")
    page.wait_for_selector("#hits[aria-busy=false] .hit")
    seen["search"] = findings(page)
    page.locator(".hit").first.click()
    page.wait_for_selector("#photo-large[src^=blob]")
    seen["photo"] = findings(page)
    page.keyboard.press("Escape")
    page.click("#key")
    seen["key"] = findings(page)
    page.keyboard.press("Escape")
    page.click("#tab-classify")
    page.set_input_files("#classify-file", picture)
    page.fill("#labels", "Hund\nchat")
    page.click("#classify-form button.main")
    page.wait_for_selector("#bars li")
    assert page.locator("#bars li").count() == 3
    seen["classify"] = findings(page)
    page.click("#tab-compare")
    page.set_input_files("#compare-file", picture)
    page.fill("#texts", "Hund\nchat")
    page.wait_for_selector("#compare-pictures img")
    page.click("#compare-form button.main")
    page.wait_for_selector("#matrix td")
    assert [page.locator("#matrix tbody tr").nth(n).locator("td").nth(n).text_content() for n in range(3)] == [
        "1.00"
    ] * 3
    seen["compare"] = findings(page)
    page.click("#tab-usage")
    page.wait_for_selector("#totals dd")
    assert page.locator("#chart rect").count() == 30
    assert page.locator("#totals dd").nth(1).text_content() != "0"
    seen["usage"] = findings(page)
    page.click("#tab-api")
    assert page.locator("#api-code pre").count() == 3
    seen["api"] = findings(page)
    page.goto(page.url.partition("#")[0] + "page/privacy.html")
    seen["privacy"] = findings(page)
    if not AXE.is_file():
        pytest.skip("axe-core is not here: scripts/test installs it where there is npm")
    assert not {tab: found for tab, found in seen.items() if found}


@pytest.mark.parametrize("width", [320, 768])
def test_no_language_is_wider_than_the_screen(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.click("#filters-open")
    for language in LANGUAGES:
        page.select_option("#language", language)
        page.wait_for_selector(f"html[lang={language}]")
        for tab in ("classify", "compare", "usage", "api", "search"):
            page.click(f"#tab-{tab}")
            sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert sizes[0] <= sizes[1], (language, tab)


def test_usage_writes_costs_as_the_language_does(page: Any) -> None:
    search(page, "a dog")
    page.select_option("#language", "es")
    page.click("#tab-usage")
    page.wait_for_selector("html[lang=es] #usage-table td")
    total = page.locator("#totals dd").first.text_content().strip("\u2066\u2069")
    row = page.locator("#usage-table td").nth(2).text_content().strip("\u2066\u2069")
    assert re.fullmatch(r"\$0,\d+", row)
    assert row == total


def findings(page: Any) -> list[str]:
    """What axe finds that is serious or critical."""
    if not AXE.is_file():
        return []
    # The page lets no script of others in, so the whole of axe goes in as what is evaluated.
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]
