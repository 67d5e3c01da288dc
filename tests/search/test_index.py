import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.errors import ImageError, InputError, ModelMismatchError
from babelclip.indexing.indexer import IndexProgress
from babelclip.models.model import Model
from babelclip.query.expressions import Term
from babelclip.search.confidence import BIAS, HUB_SHARPNESS, NEAR_WORDS, NEAREST, SHARPNESS, WEIGHTS, word_vectors
from babelclip.search.index import Index, text_queries
from babelclip.search.tuning_queries import PAIRS, asked_pairs, asked_sentences
from babelclip.text.languages import BY_CODE
from babelclip.vectors import FloatArray
from babelclip.zeroshot.everyday_words import everyday_words


@pytest.fixture
def index(tmp_path: Path, pair: Model) -> Iterator[Index]:
    with Index.open(tmp_path / "photos.bc", pair) as opened:
        yield opened


def test_every_photo_is_found_by_itself(index: Index, photos: Path, pair: Model) -> None:
    report = index.add_folder(photos)
    assert (report.added, report.failed, len(index)) == (5, [], 5)
    for path in photos.rglob("*.*"):
        hits = index.search(path, k=3)
        assert hits[0].path == str(path)
        assert hits[0].score == pytest.approx(1, abs=1e-3)
        assert [hit.rank for hit in hits] == [1, 2, 3]
        assert hits[0].score >= hits[1].score >= hits[2].score


def test_scores_are_the_cosines_of_the_models_vectors(index: Index, photos: Path, pair: Model) -> None:
    index.add_folder(photos)
    query = pair.encode("a dog")
    for hit in index.search("a dog"):
        assert hit.score == pytest.approx(float(query @ pair.encode(Path(hit.path))), abs=2e-3)


def test_similar_leaves_the_photo_itself_out(index: Index, photos: Path) -> None:
    index.add_folder(photos)
    hits = index.similar(photos / "a.jpg", k=4)
    assert len(hits) == 4
    assert str(photos / "a.jpg") not in {hit.path for hit in hits}


def test_a_second_run_does_nothing_and_changes_are_followed(index: Index, photos: Path) -> None:
    index.add_folder(photos)
    report = index.add_folder(photos)
    assert (report.added, report.unchanged) == (0, 5)
    (photos / "a.jpg").unlink()
    shutil.move(photos / "b.png", photos / "moved.png")
    shutil.copy(photos / "c.webp", photos / "copy.webp")
    Image.new("RGB", (9, 9), "red").save(photos / "inner/e.gif")
    Image.new("RGB", (9, 9), "blue").save(photos / "new.jpg")
    report = index.add_folder(photos)
    assert (report.added, report.known_content, report.unchanged, report.removed) == (2, 2, 2, 2)
    assert index.search(photos / "new.jpg", k=1)[0].path == str(photos / "new.jpg")
    assert len(index) == 6


def test_copies_that_come_together_are_encoded_once(tmp_path: Path, pair: Model, photos: Path) -> None:
    for i in range(6):
        shutil.copy(photos / "a.jpg", photos / f"copy{i}.jpg")
    drawn: list[Path] = []
    original = pair.stream_images

    class Watching:
        def __getattr__(self, name: str) -> object:
            return getattr(pair, name)

        def stream_images(self, images: Iterator[tuple[bytes, Path]]) -> object:
            def watched() -> Iterator[tuple[bytes, Path]]:
                for tag, image in images:
                    drawn.append(image)
                    yield tag, image

            return original(watched())

    with Index.open(tmp_path / "p.bc", Watching()) as index:  # type: ignore[arg-type]
        report = index.add_folder(photos)
        assert len(index) == 11
        assert report.added + report.known_content == 11
    assert len(drawn) == 5


def test_bad_files_are_reported_by_name_and_lose_nothing(index: Index, photos: Path) -> None:
    good = (photos / "a.jpg").read_bytes()
    (photos / "truncated.jpg").write_bytes(good[: len(good) // 2])
    (photos / "empty.png").touch()
    (photos / "text.jpg").write_text("not a picture")
    (photos / "dangling.jpg").symlink_to(photos / "nowhere")
    report = index.add_folder(photos)
    assert report.added == 5
    assert {Path(path).name for path, _ in report.failed} == {"truncated.jpg", "empty.png", "text.jpg", "dangling.jpg"}
    assert all(reason for _, reason in report.failed)
    assert len(index.failures()) == 4
    again = index.add_folder(photos)
    assert (again.added, again.unchanged, len(again.failed)) == (0, 8, 1)
    (photos / "text.jpg").write_bytes(good)
    assert index.add_folder(photos).known_content == 1
    assert len(index.failures()) == 3


def test_a_name_that_is_not_utf8_is_reported(index: Index, photos: Path) -> None:
    shutil.copy(os.fsencode(photos / "a.jpg"), os.fsencode(photos) + b"/\xff\xfe.jpg")
    report = index.add_folder(photos)
    assert report.added == 5
    assert [reason for _, reason in report.failed] == ["its name is not valid UTF-8; rename it"]


def test_hidden_files_and_other_kinds_are_passed_over(index: Index, photos: Path) -> None:
    (photos / ".hidden").mkdir()
    shutil.copy(photos / "a.jpg", photos / ".hidden/x.jpg")
    shutil.copy(photos / "a.jpg", photos / ".x.jpg")
    (photos / "notes.txt").write_text("hello")
    assert index.add_folder(photos).added == 5


def test_a_single_file_and_a_loop_of_links_are_fine(index: Index, photos: Path) -> None:
    assert index.add_folder(photos / "a.jpg").added == 1
    (photos / "inner/loop").symlink_to(photos, target_is_directory=True)
    report = index.add_folder(photos)
    assert (report.added, report.unchanged) == (4, 1)


def test_a_folder_that_is_gone_is_an_error_and_forgets_nothing(index: Index, photos: Path, tmp_path: Path) -> None:
    index.add_folder(photos)
    photos.rename(tmp_path / "unplugged")
    with pytest.raises(InputError, match="no such file or folder"):
        index.add_folder(photos)
    assert len(index) == 5


def test_two_folders_do_not_forget_each_other(index: Index, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos2")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "photos2/extra.jpg")
    index.add_folder(photos)
    report = index.add_folder(tmp_path / "photos2")
    assert (report.added, report.known_content, report.removed) == (1, 5, 0)
    assert len(index) == 11


def test_progress_ends_at_the_total(index: Index, photos: Path) -> None:
    seen: list[IndexProgress] = []
    index.add_folder(photos, progress=seen.append)
    assert [state.done for state in seen] == [1, 2, 3, 4, 5]
    assert {state.total for state in seen} == {5}


def test_an_empty_index_answers_with_nothing(index: Index) -> None:
    assert index.search("a dog") == []


@pytest.mark.parametrize("query", ["", "  \n"])
def test_a_blank_query_is_an_error(index: Index, query: str) -> None:
    with pytest.raises(InputError, match="the query is empty"):
        index.search(query)


def test_wrong_queries_are_errors(index: Index, photos: Path) -> None:
    index.add_folder(photos)
    with pytest.raises(InputError, match="k must be at least 1, not 0"):
        index.search("a", k=0)
    with pytest.raises(ImageError, match=r"none\.jpg"):
        index.similar(photos / "none.jpg")
    assert len(index.search("a", k=1000)) == 5


def test_another_models_index_is_refused(tmp_path: Path, pair: Model, clip_folder: Path) -> None:
    Index.open(tmp_path / "p.bc", pair).close()
    with pytest.raises(ModelMismatchError):
        Index.open(tmp_path / "p.bc", Model.load(clip_folder))


def test_what_another_process_adds_is_found(tmp_path: Path, pair: Model, photos: Path) -> None:
    with Index.open(tmp_path / "p.bc", pair) as one, Index.open(tmp_path / "p.bc", pair) as two:
        assert one.search("a dog") == []
        two.add_folder(photos)
        assert len(one.search("a dog")) == 5


RUN = """
import sys
from babelclip.models.model import Model
from babelclip.search.index import Index
with Index.open(sys.argv[1], Model.load(text=sys.argv[2], image=sys.argv[3])) as index:
    index.add_folder(sys.argv[4], progress=lambda state: print(state.done, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_at_any_moment_goes_on_where_it_was(
    tmp_path: Path, text_folder: Path, clip_folder: Path, how: signal.Signals
) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(600):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i:03}.png")
    model = Model.load(text=text_folder, image=clip_folder)
    arguments = [str(tmp_path / "p.bc"), str(text_folder), str(clip_folder), str(folder)]
    saved = 0
    for stop_at in (1, 300):
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert run.stdout is not None
        for line in run.stdout:
            if int(line) >= stop_at + saved:
                run.send_signal(how)
                break
        run.stdout.close()
        run.wait()
        with Index.open(arguments[0], model) as index:
            assert len(index) >= saved
            saved = len(index)
            assert len(index.search("a dog", k=600)) == saved
    assert 0 < saved < 600
    with Index.open(arguments[0], model) as index:
        report = index.add_folder(folder)
        assert report.unchanged == saved
        assert report.added == 600 - saved
        assert {hit.path for hit in index.search("a", k=600)} == {str(path) for path in folder.iterdir()}


def test_a_file_that_changes_while_it_is_read_is_not_stored_under_its_old_content(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch, pair: Model
) -> None:
    original = Model.stream_images

    first = hashlib.sha256((photos / "a.jpg").read_bytes()).digest()

    def touching(self: Model, images: Iterator[tuple[bytes, Path]]) -> Iterator[object]:
        for digest, vector in original(self, images):
            if digest == first:
                time.sleep(0.01)
                Image.new("RGB", (9, 9), "red").save(photos / "a.jpg")
            yield digest, vector

    monkeypatch.setattr(Model, "stream_images", touching)
    report = index.add_folder(photos)
    monkeypatch.undo()
    assert report.added == 4
    assert [reason for _, reason in report.failed] == ["changed while it was read; run again"]
    assert index.add_folder(photos).added == 1


@pytest.fixture
def many(tmp_path: Path, pair: Model) -> Iterator[Index]:
    """Thirty pictures, of which five are nearly the same."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "many"
    (folder / "holiday").mkdir(parents=True)
    coarse = np.zeros((4, 5, 3), dtype=np.uint8)
    for i in range(30):
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8) if i < 26 else coarse
        place = folder / "holiday" if i % 3 == 0 else folder
        Image.fromarray(coarse).resize((90 + i, 70)).save(place / f"{i:02}.png")
    with Index.open(tmp_path / "many.bc", pair) as opened:
        opened.add_folder(folder)
        yield opened


def test_pages_share_no_photo_and_lose_none(many: Index) -> None:
    pages = [[hit.path for hit in many.search("a dog", 7, page=page)] for page in range(1, 6)]
    assert [len(page) for page in pages] == [7, 7, 7, 7, 2]
    assert len({path for page in pages for path in page}) == 30
    assert [hit.rank for hit in many.search("a dog", 7, page=2)] == list(range(8, 15))
    assert many.search("a dog", 7, page=6) == []


def test_pages_of_grouped_hits_show_near_duplicates_once(many: Index) -> None:
    pages = [many.search("a dog", 4, page=page, grouped=True) for page in range(1, 9)]
    shown = [path for page in pages for hit in page for path in (hit.path, *hit.alike)]
    assert len(shown) == len(set(shown)) == 30
    assert any(hit.alike for page in pages for hit in page)


def test_a_filter_chooses_files(many: Index) -> None:
    inside = many.search("a dog", 30, where="folder:holiday")
    assert len(inside) == 10
    assert all("/holiday/" in hit.path for hit in inside)
    outside = many.search("a dog", 30, where="NOT folder:holiday")
    assert len(outside) == 20
    assert not {hit.path for hit in inside} & {hit.path for hit in outside}
    assert many.similar(Path(inside[0].path), 3, where="folder:nowhere") == []
    with pytest.raises(InputError, match="no field 'colour'"):
        many.search("a dog", where="colour:red")


def test_a_copy_is_found_only_where_the_filter_lets_it(many: Index, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "many/holiday/00.png", tmp_path / "many/copy.png")
    many.add_folder(tmp_path / "many")
    found = {hit.path for hit in many.search(tmp_path / "many/copy.png", 40, where="NOT folder:holiday")}
    assert str(tmp_path / "many/copy.png") in found
    assert str(tmp_path / "many/holiday/00.png") not in found


def test_terms_count_by_the_spread_of_their_scores(many: Index, tmp_path: Path, pair: Model) -> None:
    paths = [hit.path for hit in many.search("a dog", 30)]
    photos = pair.encode_images(paths)
    terms = [Term(tmp_path / "many/01.png", 0.5), Term("a dog"), Term("a cat", -2)]
    cosines = photos @ pair.encode([term.item for term in terms]).T
    expected = (cosines / cosines.std(axis=0)) @ np.array([0.5, 1, -2])
    found = [expected[paths.index(hit.path)] for hit in many.search(terms, 30)]
    assert len(found) == 30
    assert (np.diff(found) < 0.05 * expected.std()).all()


def test_a_negative_text_turns_the_order_round(many: Index) -> None:
    away = [hit.path for hit in many.search([Term("a dog", -1)], 30)]
    assert away == [hit.path for hit in many.search("a dog", 30)][::-1]


def test_confidence_falls_with_the_score_and_is_for_texts_alone(many: Index) -> None:
    hits = many.search("a dog", 30, language="en")
    assert all(hit.confidence is not None and 0 <= hit.confidence <= 1 and hit.match for hit in hits)
    assert hits[0].confidence > hits[-1].confidence  # type: ignore[operator]
    assert many.search([Term("a dog"), Term("a cat")], 1)[0].confidence is None
    assert many.similar(Path(hits[0].path), 1)[0].confidence is None


def test_answers_and_confidences_are_those_of_plain_products(many: Index, pair: Model) -> None:
    photos, vectors = many.pictures()
    words = word_vectors(pair, "en")
    cosines = words @ vectors.T
    hubs = np.log(np.exp(SHARPNESS * cosines).sum(axis=0))
    best = cosines.max(axis=1)

    def inverted(own: FloatArray) -> float:
        best = np.argsort(-own)[:NEAREST]
        return float(np.log(np.exp(SHARPNESS * own[best] - hubs[best]).sum()))

    def near(likeness: FloatArray) -> float:
        return float(best[np.argsort(-likeness)[:NEAR_WORDS]].mean())

    of_words = np.array([inverted(own) for own in cosines])
    near_words = np.array([near(np.where(np.arange(len(words)) == i, -1, words @ words[i])) for i in range(len(words))])
    for text in ("a dog", "two red cars on a street"):
        asked = pair.encode_text(text)
        own = vectors @ asked
        hits = many.search(text, 30, language="en")
        assert [hit.path for hit in hits] == [photos[i].path for i in np.argsort(-own)]
        logit = BIAS + WEIGHTS[0] * (own - best.mean()) / best.std()
        logit += WEIGHTS[1] * (inverted(own) - of_words.mean()) / of_words.std()
        logit += WEIGHTS[2] * (near(words @ asked) - near_words.mean()) / near_words.std()
        sure = {photo.path: one for photo, one in zip(photos, 1 / (1 + np.exp(-logit)), strict=True)}
        assert [hit.confidence for hit in hits] == pytest.approx([sure[hit.path] for hit in hits], abs=1e-3)
        for other in (many.search(text, 4, language="en", page=2), many.search(text, 3, language="en", grouped=True)):
            assert [hit.confidence for hit in other] == pytest.approx([sure[hit.path] for hit in other], abs=1e-3)


def test_evidence_and_sample_follow_the_collection(many: Index, tmp_path: Path) -> None:
    terms = [Term("a dog"), Term("a cat", -0.5)]
    many.search("a dog", language="en")
    before = many.search(terms, 30)
    for path in sorted((tmp_path / "many").glob("*.png"))[:15]:
        path.unlink()
    many.add_folder(tmp_path / "many")
    with Index.open(tmp_path / "many.bc", many.model) as anew:
        for query in ("a dog", terms):
            assert many.search(query, 30, language="en") == anew.search(query, 30, language="en")
    assert many.search(terms, 30) != before


def test_nothing_is_said_of_confidence_in_a_tiny_collection(index: Index, photos: Path) -> None:
    index.add_folder(photos)
    assert index.search("a dog")[0].confidence is None


def test_diversity_and_queries_alike_change_the_order_and_not_the_photos(many: Index) -> None:
    plain = many.search("a dog", 30)
    for options in ({"diversity": 0.8}, {"queries_like": ["a cat", "a tree", "un chien"]}):
        other = many.search("a dog", 30, **options)
        assert {hit.path for hit in other} == {hit.path for hit in plain}
        assert [hit.path for hit in other] != [hit.path for hit in plain]


def test_photos_that_fit_many_queries_count_less(many: Index, pair: Model) -> None:
    photos, vectors = many.pictures()
    others = ["a cat", "a tree", "un chien"]
    logits = HUB_SHARPNESS * vectors @ pair.encode_text(["a dog", *others]).T
    expected = logits[:, 0] - np.log(np.exp(logits[:, 1:]).sum(axis=1))
    hits = many.search("a dog", 30, queries_like=others)
    assert [hit.path for hit in hits] == [photos[i].path for i in np.argsort(-expected)]


def test_a_text_from_which_another_is_taken_is_as_sure_as_by_itself(many: Index) -> None:
    alone = {hit.path: hit.confidence for hit in many.search("a dog", 30, language="en")}
    less = many.search([Term("a dog"), Term("a cat", -0.5)], 30, language="en")
    assert {hit.path: hit.confidence for hit in less} == pytest.approx(alone)
    assert [hit.path for hit in less] != list(alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"page": 0}, "at least 1"),
        ({"page": 2000}, "beyond hit 10000"),
        ({"page": 201, "grouped": True}, "beyond hit 2000"),
        ({"diversity": 2}, "0 to 1"),
    ],
)
def test_options_out_of_range_are_errors(many: Index, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        many.search("a dog", **options)  # type: ignore[arg-type]


def test_neighbours_are_tuned_with_words_and_with_sentences_in_known_languages(pair: Model) -> None:
    words, sentences = text_queries(pair)
    lines = resources.files("babelclip.search").joinpath("tuning_queries.tsv").read_text(encoding="utf-8").splitlines()
    assert words.shape == (400, pair.dimension)
    assert sentences.shape == (len(lines) + len(asked_pairs()), pair.dimension)
    assert len(set(lines)) == len(lines)
    languages = dict.fromkeys(line.split("\t")[0] for line in lines)
    assert languages.keys() <= set(BY_CODE)
    for i, language in enumerate(languages):
        pairs = [set(pair.split(", ")) for pair in asked_pairs()[PAIRS * i : PAIRS * (i + 1)]]
        assert len(pairs) == PAIRS
        assert all(len(pair) == 2 and pair <= set(everyday_words(language)) for pair in pairs)
    assert len(asked_sentences()) == len(lines)
