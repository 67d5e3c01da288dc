import inspect

from babelclip import errors


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    drawn: dict[str, str] = {}
    ancestors: dict[int, str] = {}
    for line in (inspect.getdoc(errors) or "").splitlines():
        name = line.lstrip(" │├└─").split(" ")[0]
        if name.endswith("Error") and ("─" in line or line.strip() == "BabelclipError"):
            depth = len(line) - len(line.lstrip(" │├└─"))
            ancestors[depth] = name
            parents = [known for known in ancestors if known < depth]
            drawn[name] = ancestors[max(parents)] if parents else "Exception"
    real = {
        name: member.__bases__[0].__name__
        for name, member in vars(errors).items()
        if inspect.isclass(member) and issubclass(member, Exception)
    }
    assert drawn == real


def test_a_missing_package_is_named_with_its_install_line() -> None:
    assert str(errors.MissingDependencyError("torch", extra="torch")).endswith("pip install 'babelclip[torch]'")
