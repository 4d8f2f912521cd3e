"""The rules of the house: who may know whom."""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
import shapsketch as ss
from shapsketch import _core
from shapsketch.explain.indices import INDICES

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
    "masks",
    "plot",
    "reporting",
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


# What each room of the core must not know.
STRANGERS = {
    "surrogate": ["anova", "explain", "peel", "regress", "trees", "networks", "predictor", "sketch"],
    "networks": ["surrogate", "anova", "explain", "peel", "regress", "trees", "predictor", "sketch"],
    "predictor": ["peel", "regress", "explain", "design", "sketch", "amortised"],
    "amortised": ["peel", "regress", "design", "sketch", "trees"],
    "anova": ["peel", "regress", "trees", "sketch", "explain"],
    "explain": ["peel", "regress", "trees", "design", "sketch"],
}


@pytest.mark.parametrize("room", STRANGERS)
def test_a_room_of_the_core_does_not_know_later_rooms(room):
    known = set()
    for source in sources(ROOT / "rust" / "src" / room, "*.rs"):
        # Tests within a room may build what they test by any means, and comments may link anywhere.
        code = re.sub(r"//.*", "", source.read_text().split("#[cfg(test)]")[0])
        known |= set(re.findall(r"\bcrate::(\w+)", code))
    assert known, f"{room} uses nothing of the core"
    assert not known & set(STRANGERS[room])


BINDING = ROOT / "python" / "src"
# Binding files that are no room of the core.
GLUE = {"lib", "arrays", "errors", "work"}


def test_binding_files_are_named_after_the_rooms_of_the_core():
    def rooms(folder):
        return {path.relative_to(folder).parts[0].removesuffix(".rs") for path in sources(folder, "*.rs")}

    binding, core = rooms(BINDING), rooms(ROOT / "rust" / "src")
    assert binding >= GLUE
    assert binding - GLUE <= core, "binding files that are no room of the core"


def test_only_one_binding_file_knows_numpy_and_one_the_errors():
    binding = sources(BINDING, "*.rs")
    assert [s.name for s in binding if "numpy::" in s.read_text()] == ["arrays.rs"]
    assert [s.name for s in binding if re.search(r"\bError::", s.read_text())] == ["errors.rs"]
    assert not [s.name for s in binding if ".call(" in s.read_text()]


def test_no_binding_file_falls_back_on_names_it_does_not_know():
    for source in sources(BINDING, "*.rs"):
        assert not re.search(r"unwrap_or\(\s*[\w:]*[A-Z]\w*::[A-Z]", source.read_text()), source


def bodies(text):
    """Yield the name and the number of lines of each function body, by the indentation of its braces."""
    lines = text.split("\n")
    for start, line in enumerate(lines):
        header = re.match(r"(\s*)(pub(\(\w+\))? )?(const )?fn (\w+)", line)
        if header is None or "}" in line[line.find("{") :]:
            continue
        indent = header[1]
        opening = next(i for i in range(start, len(lines)) if lines[i].rstrip().endswith("{"))
        end = next(i for i in range(opening, len(lines)) if lines[i].startswith(f"{indent}}}"))
        yield header[5], end - opening - 1


def test_binding_bodies_convert_call_convert():
    lengths = {
        (source.name, name): length
        for source in sources(BINDING, "*.rs")
        if source.stem not in GLUE
        for name, length in bodies(source.read_text())
    }
    assert len(lengths) > 30
    assert {key: length for key, length in lengths.items() if length > 25} == {}


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
    assert names & set(ss.__all__) == {"models", "plot"}


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def lines_of(function):
    """Return the lines of a function without its docstring."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_files_and_functions_are_short():
    files = [
        path
        for folder, pattern in [(PACKAGE, "*.py"), (BINDING, "*.rs"), (ROOT / "rust" / "src", "*.rs")]
        for path in sources(folder, pattern)
    ]
    assert {path.name: n for path in files if (n := len(path.read_text().splitlines())) > 450} == {}
    lengths = {(p.name, f.name): lines_of(f) for p in sources(PACKAGE, "*.py") for f in functions(p)}
    assert len(lengths) > 400
    assert {key: n for key, n in lengths.items() if n > 80} == {}
    # Clippy counts the lines of functions in Rust.
    assert "too-many-lines-threshold = 80" in (ROOT / "clippy.toml").read_text()
    assert 'too_many_lines = "deny"' in (ROOT / "Cargo.toml").read_text()


def test_only_one_module_calls_a_model_and_only_adapters_wrap_one():
    callers = set()
    for path in sources(PACKAGE, "*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", None))
                if name in ("model", "_model"):
                    callers.add(path.relative_to(PACKAGE))
    assert {path for path in callers if path.parts[0] != "models"} == {Path("evaluate", "outputs.py")}
    assert any(path.parts[0] == "models" for path in callers)


def test_modules_keep_private_names_and_optional_imports_to_themselves():
    imported = 0
    for path in sources(PACKAGE, "*.py"):
        text = path.read_text()
        assert "__dict__[" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("shapsketch"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert set(private) <= {"_core", "__version__"}, f"{path} imports {private}"
                imported += len(node.names)
            if isinstance(node, ast.ExceptHandler) and node.type is not None:
                caught = ast.unparse(node.type)
                allowed = path.name == "_validate.py" or path.parts[-2] == "cli"
                assert allowed or not re.search(r"\bImportError\b|ModuleNotFoundError", caught), path
    assert imported > 300


def signature_of(value):
    if not inspect.isclass(value) and not callable(value):
        return ""
    try:
        return f"({', '.join(inspect.signature(value).parameters)})"
    except (ValueError, TypeError):
        return ""


def test_a_change_of_the_public_surface_is_seen_in_review():
    """If a change of the surface is meant, put the lines that this test prints into tests/surface.txt."""
    surface = [f"ss.{name}{signature_of(getattr(ss, name))}" for name in ss.__all__ if name != "__version__"]
    for module in ("models", "plot"):
        listed = getattr(ss, module)
        surface += [f"ss.{module}.{name}{signature_of(getattr(listed, name))}" for name in listed.__all__]
    lib = (ROOT / "rust" / "src" / "lib.rs").read_text()
    surface += re.findall(r"^pub (?:mod|use) [^;]+", lib, re.M)
    core = ROOT / "rust" / "src"
    for source in sources(core, "*.rs"):
        items = re.findall(
            r"^ *pub (?:const )?(fn|struct|enum|trait|type|const) (\w+)", source.read_text(), re.M
        )
        surface += [f"{source.relative_to(core).as_posix()}: {kind} {name}" for kind, name in items]
    recorded = (ROOT / "tests" / "surface.txt").read_text().splitlines()
    assert len(surface) > 200
    assert surface == recorded


def test_sketch_has_at_most_twelve_parameters():
    assert len(inspect.signature(ss.sketch).parameters) <= 12


def literal(function, parameter):
    """Return the names that a parameter's type lists, by itself or in a union."""
    hint = typing.get_type_hints(function)[parameter]
    options = typing.get_args(hint)
    options += tuple(name for option in options for name in typing.get_args(option))
    return {name for name in options if isinstance(name, str)}


def test_each_closed_set_of_names_is_that_of_the_core():
    names = {option: set(accepted) for option, accepted in _core.NAMES.items()}
    assert set(names) == {"index", "basis", "subsampling", "delays", "strategy", "method", "outcome"}
    # Faith-Shap of full order is the Moebius index; Python alone knows that name.
    assert set(INDICES) - {"Faith-Shap"} == names["index"]
    assert literal(ss.SparseRegressor.__init__, "basis") == names["basis"]
    assert literal(ss.QueryDesign.__init__, "subsampling") == names["subsampling"]
    assert literal(ss.QueryDesign.__init__, "delays") == names["delays"]
    # Trees and distillation learn from the queries of a regression; Python alone knows these methods.
    assert literal(ss.sketch, "method") - {"trees", "distill"} == names["strategy"]
    assert literal(ss.sketch, "method") - {"auto"} <= names["method"]


SPACE = ss.SequenceSpace(ss.DNA, 4)._core
CODES, VALUES = np.zeros((4, 4), dtype=np.uint8), np.zeros(4)
REGRESSION = {
    "strengths": None,
    "dictionary": None,
    "relations": None,
    "penalty": None,
    "loss": "squared",
    "growth": True,
    "refit": True,
    "tolerance": 1e-7,
    "memory": 2**30,
    "seed": 0,
    "uniform": False,
}


def fit_of(**options):
    required = {"method": "trees", "outcome": "validated", "budget": 1, "n_queries": 1, "seed": 0}
    return _core.Fit(codes=CODES, values=VALUES, predictions=VALUES, **{**required, **options})


def components():
    return _core.Components(_core.Sketch(_core.Spectrum(SPACE, CODES[:1], np.ones(1, dtype=complex), False)))


def design_of(**options):
    required = {"b": 1, "groups": 1, "subsampling": "random", "delays": "nso", "repeats": 1}
    required |= {"max_order": 5, "seed": 0}
    return _core.Design(SPACE, **{**required, **options})


@pytest.mark.parametrize(
    ("option", "call"),
    [
        ("index", lambda name: components().interactions(name, 2, with_references=False)),
        ("basis", lambda name: _core.regress(SPACE, CODES, VALUES, None, None, basis=name, **REGRESSION)),
        ("subsampling", lambda name: design_of(subsampling=name)),
        ("delays", lambda name: design_of(delays=name)),
        ("method", lambda name: _core.Plan(SPACE, 100, method=name, seed=0)),
        ("method", lambda name: fit_of(method=name)),
        ("outcome", lambda name: fit_of(outcome=name)),
    ],
)
def test_the_core_refuses_names_that_it_does_not_know(option, call):
    with pytest.raises(ss.InputError, match=f"^{option} must be one of '.*, got 'nonsense'") as raised:
        call("nonsense")
    assert raised.value.option == option


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
    constants = {node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)}
    public = {name for name in dir(_core) if not name.startswith("_")}
    assert set(stub) | constants - {"__version__"} == public
    public -= constants
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
        " 'dnaio', 'dask', 'jinja2', 'logomaker', 'shap', 'shapiq', "
        "'concurrent.futures.process'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [n for n in ss.__all__ if n.isidentifier() and callable(getattr(ss, n))])
def test_everything_public_is_documented(name):
    assert inspect.getdoc(getattr(ss, name))
