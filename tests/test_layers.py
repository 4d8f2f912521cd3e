"""The rules of the house: who may know whom."""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import shapsketch as ss
from shapsketch import _core

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "shapsketch"
# Data flows one way: a module imports only from its own package or an earlier one.
PACKAGES = [
    "errors",
    "_validate",
    "space",
    "link",
    "files",
    "query",
    "models",
    "evaluate",
    "surrogate",
    "trees",
    "fitting",
    "explain",
    "plot",
    "cli",
]
# Imports that point up on purpose: a re-export, and where it stands.
REEXPORTS = {("models/__init__.py", "evaluate.diagnostics")}


def sources(folder, pattern):
    found = sorted(folder.rglob(pattern))
    assert found, f"nothing to guard in {folder}"
    return found


def test_the_core_crate_knows_neither_python_nor_unsafe_code():
    manifest = (ROOT / "rust" / "Cargo.toml").read_text()
    assert "pyo3" not in manifest
    assert "numpy" not in manifest
    assert "#![forbid(unsafe_code)]" in (ROOT / "rust" / "src" / "lib.rs").read_text()
    for source in sources(ROOT / "rust" / "src", "*.rs"):
        assert not re.search(r"\b(pyo3|unsafe)\b", source.read_text().replace("forbid(unsafe_code)", "")), (
            source
        )


def test_the_surrogate_does_not_know_how_it_was_made_and_explain_does_not_ask():
    for room in ("surrogate", "explain"):
        for source in sources(ROOT / "rust" / "src" / room, "*.rs"):
            assert not re.search(r"crate::(design|peel|observations|sketch|file)", source.read_text()), source


def test_one_binding_file_maps_errors_and_no_rust_calls_python_back():
    binding = sources(ROOT / "python" / "src", "*.rs")
    assert [s.name for s in binding if re.search(r"\bError::", s.read_text())] == ["errors.rs"]
    assert not [s.name for s in binding if ".call(" in s.read_text()]


def imports(path):
    """Yield the modules of the package that a file imports, without the leading ``shapsketch.``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not used"
            modules = [node.module]
            if node.module == "shapsketch":
                modules = [f"shapsketch.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (module.split(".", 1)[1] for module in modules if module.startswith("shapsketch."))


def test_packages_import_only_from_earlier_packages():
    files = [path for path in sources(PACKAGE, "*.py") if path.parent != PACKAGE or path.stem != "__init__"]
    rooms = {path: path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in files}
    assert set(rooms.values()) == set(PACKAGES)
    assert len(PACKAGES) <= 16
    arrows = 0
    for path, room in rooms.items():
        for module in imports(path):
            other = module.split(".")[0]
            if (str(path.relative_to(PACKAGE)), module) in REEXPORTS or other not in PACKAGES:
                continue
            arrows += other != room
            assert PACKAGES.index(other) <= PACKAGES.index(room), f"{path} imports shapsketch.{module}"
    assert arrows > len(PACKAGES)


def test_no_public_name_is_also_a_module():
    names = {
        info.name.removeprefix("shapsketch.").split(".")[0]
        for info in pkgutil.walk_packages(ss.__path__, "shapsketch.")
    }
    assert set(PACKAGES) <= names
    assert names & set(ss.__all__) == {"models"}


def test_the_package_prints_nothing_and_holds_no_global_random_state():
    for path in sources(PACKAGE, "*.py"):
        text = path.read_text()
        assert "np.random.seed" not in text
        assert not re.search(r"import pickle|pickle\.load|allow_pickle", text)
        if path.parent.name != "cli":
            assert not re.search(r"^\s*print\(", text, re.M), path


def test_the_stub_file_lists_what_the_module_has():
    tree = ast.parse((PACKAGE / "_core.pyi").read_text())
    stub = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            stub[node.name] = {f.name for f in node.body if isinstance(f, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            stub[node.name] = [a.arg for a in node.args.args + node.args.kwonlyargs]
    public = {name for name in dir(_core) if not name.startswith("_")}
    assert set(stub) == public
    for name in public:
        value = getattr(_core, name)
        if inspect.isclass(value):
            own = {m for m in vars(value) if not m.startswith("__") or m in ("__len__", "__new__")}
            assert own - {"__new__"} == stub[name] - {"__new__"}, name
            assert ("__new__" in own) == ("__new__" in stub[name]), name
        else:
            assert list(inspect.signature(value).parameters) == stub[name], name


def test_one_version_number():
    manifest = (ROOT / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.*)"', manifest, re.M)[1]
    assert ss.__version__ == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_importing_is_light():
    code = (
        "import sys, shapsketch; "
        "heavy = {'matplotlib', 'tqdm', 'scipy', 'pandas', 'RNA', 'lightgbm', 'sklearn', 'pyarrow', 'click',"
        " 'dnaio', 'dask', 'concurrent.futures.process'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [n for n in ss.__all__ if n.isidentifier() and callable(getattr(ss, n))])
def test_everything_public_is_documented(name):
    assert inspect.getdoc(getattr(ss, name))
