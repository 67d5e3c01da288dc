import pytest

from babelclip.errors import InputError
from babelclip.media.path_rules import DEFAULT_RULES, PathRules
from babelclip.media.system_folders import in_system_folder, is_system_folder

SYSTEM = [
    "@eaDir",
    "#recycle",
    "@Recycle",
    "$RECYCLE.BIN",
    "$Recycle.Bin",
    "RECYCLER",
    "System Volume Information",
    "lost+found",
    ".Trash",
    ".Trash-1000",
    ".Trashes",
    ".thumbnails",
    "Thumbnails",
    ".@__thumb",
    "#snapshot",
    "iPod Photo Cache",
    "Catalog Previews.lrdata",
]


@pytest.mark.parametrize("name", SYSTEM)
def test_folders_of_systems_are_passed_over_unless_asked_for(name: str) -> None:
    assert is_system_folder(name)
    assert DEFAULT_RULES.reason(["2019", name, "a.jpg"]) == "system"
    assert PathRules(include_system=True).reason(["2019", name, "a.jpg"]) is None
    assert in_system_folder(f"/photos/{name}/deep/a.jpg")


@pytest.mark.parametrize("name", ["Trash talk", "recycling", "my thumbnails", "snapshots", "eaDir", "Système"])
def test_folders_of_people_are_read(name: str) -> None:
    assert not is_system_folder(name)
    assert DEFAULT_RULES.reason([name, "a.jpg"]) is None
    assert not in_system_folder(f"/photos/{name}/a.jpg")


def test_a_file_called_like_a_system_folder_does_not_make_its_folder_one() -> None:
    assert not in_system_folder("/photos/lost+found")


def test_hidden_names_are_passed_over_with_and_without_system_folders() -> None:
    for rules in (DEFAULT_RULES, PathRules(include_system=True)):
        assert rules.reason([".private", "a.jpg"]) == "hidden"
        assert rules.reason(["2019", "._a.jpg"]) == "hidden"


@pytest.mark.parametrize(
    ("pattern", "excluded", "read"),
    [
        ("*.png", "2019/a.png", "2019/a.jpg"),
        ("privé", "privé/a.jpg", "privés/a.jpg"),
        ("写真*", "2019/写真1.jpg", "2019/图片1.jpg"),
        ("2019/raw", "2019/raw/a.jpg", "raw/2019/a.jpg"),
        ("/raw/", "raw/a.jpg", "rare/a.jpg"),
        ("2019/*/a.jpg", "2019/x/a.jpg", "2019/x/b.jpg"),
        ("[ab].jpg", "deep/down/a.jpg", "deep/down/c.jpg"),
    ],
)
def test_a_pattern_excludes_names_or_paths(pattern: str, excluded: str, read: str) -> None:
    rules = PathRules(exclude=(pattern,))
    assert rules.reason(excluded.split("/")) == "excluded"
    assert rules.reason(read.split("/")) is None


@pytest.mark.parametrize("pattern", ["", " ", "/", "//"])
def test_an_empty_pattern_is_an_error(pattern: str) -> None:
    with pytest.raises(InputError, match="a pattern to exclude is empty"):
        PathRules(exclude=("*.png", pattern))
