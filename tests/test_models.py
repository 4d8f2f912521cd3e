"""Adapters return the values that the library, the program or the definition gives directly."""

import dataclasses
import itertools
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
import shapsketch as ss
from hypothesis import given
from hypothesis import strategies as st
from shapsketch import models
from toys import by_evaluator

SPACE = ss.SequenceSpace(ss.DNA, length=5)
ALL5 = ["".join(symbols) for symbols in itertools.product(ss.DNA, repeat=5)]

# torch and Keras take gigabytes, so the test extra does not install them.
HEAVY = "needs torch and keras: pip install torch keras"


def codes_of(count, space=SPACE, seed=0):
    return np.random.default_rng(seed).integers(0, space.q, (count, space.n), dtype=np.uint8)


def onehot(codes, q=4, dtype=np.float32):
    return np.eye(q, dtype=dtype)[codes]


def flat(codes, q=4):
    return onehot(codes, q, float).reshape(len(codes), -1)


def batch(adapter, codes, space=SPACE):
    """The batch that an evaluation passes to an adapter."""
    return {"strings": space.decode, "codes": np.copy, "onehot": onehot}[adapter.inputs](codes)


def check_pickle(adapter, codes=None, space=SPACE):
    """Check that a pickled adapter declares and returns the same; return its values."""
    codes = codes_of(20) if codes is None else codes
    values = np.asarray(adapter(batch(adapter, codes, space)))
    other = pickle.loads(pickle.dumps(adapter))
    assert (other.inputs, other.outputs) == (adapter.inputs, adapter.outputs)
    np.testing.assert_array_equal(np.asarray(other(batch(adapter, codes, space))), values)
    return values


def sketched(adapter, space=SPACE, **options):
    options = {"budget": space.size, "progress": False, "inputs": adapter.inputs} | options
    return by_evaluator(ss.sketch, adapter, space, **options)


# Models are at module level so that they can be pickled.


def score(sequences):
    """Depends on every symbol and its position."""
    return np.array([sum(ord(s) * (i + 1) ** 2 % 97 for i, s in enumerate(x)) for x in sequences], float)


@dataclasses.dataclass(frozen=True)
class Scored:
    """The same score from strings, codes or one-hot arrays."""

    alphabet: str
    inputs: str

    def __call__(self, batch):
        if self.inputs == "strings":
            return score(batch)
        codes = batch.argmax(-1) if self.inputs == "onehot" else batch
        return score(["".join(self.alphabet[c] for c in row) for row in codes])


def weighted(x):
    """Two outputs from one-hot arrays (B, n, q); the second is always 1."""
    return np.stack([x[:, 0, 1] + 2 * x[:, 2, 3], x.sum(axis=(1, 2)) / x.shape[1]], axis=1)


def named(sequences):
    return {"g": [s.count("G") for s in sequences], "a": [s.count("A") for s in sequences]}


class TestArray:
    def test_layouts(self):
        seen = []

        def model(x):
            seen.append(x)
            return x.reshape(len(x), -1)[:, :1]

        x = onehot(codes_of(3))
        expected = {"channels_last": x, "channels_first": x.transpose(0, 2, 1), "flat": x.reshape(3, -1)}
        for layout, array in expected.items():
            adapter = models.array(model, layout=layout, dtype="float64")
            assert adapter(x).shape == (3,)
            np.testing.assert_array_equal(seen[-1], array)
            assert seen[-1].dtype == np.float64
            assert seen[-1].flags.c_contiguous

    def test_can_be_pickled_and_sketched(self):
        adapter = models.array(weighted)
        assert check_pickle(adapter).shape == (20, 2)
        assert sketched(models.select(adapter, 0)).r2 > 0.999

    def test_bad_input(self):
        with pytest.raises(ss.InputError, match="did you mean 'channels_first'"):
            models.array(weighted, layout="chanels_first")
        with pytest.raises(ss.InputError, match="NumPy type"):
            models.array(weighted, dtype="float33")
        with pytest.raises(ss.InputError, match="type of numbers"):
            models.array(weighted, dtype="U3")
        with pytest.raises(ss.InputError, match="callable, got int"):
            models.array(3)
        with pytest.raises(ss.InputError, match=r"takes one-hot arrays .* received strings"):
            models.array(weighted)(["ACG"])
        with pytest.raises(ss.InputError, match=r"takes one-hot arrays \(B, n, q\).* shape \(2, 5\)"):
            models.array(weighted)(codes_of(2))
        with pytest.raises(ss.ModelError, match=r"shape \(3,\) for 2 sequences"):
            models.array(lambda x: np.zeros(3))(onehot(codes_of(2)))
        with pytest.raises(ss.ModelError, match="returned NoneType for 2 sequences"):
            models.array(lambda x: None)(onehot(codes_of(2)))


class TestSklearn:
    codes = codes_of(400)
    strings = SPACE.decode(codes)
    y = (codes[:, 1] == 2) + 0.5 * (codes[:, 3] == 0) * (codes[:, 4] == 1)
    labels = np.array(["no", "some", "yes"])[np.digitize(y, [0.4, 0.9])]

    def test_regressors_on_all_kinds_of_features(self):
        from sklearn.linear_model import Ridge
        from sklearn.tree import DecisionTreeRegressor

        tree = DecisionTreeRegressor().fit(self.codes.astype(float), self.y)
        adapter = models.sklearn(tree, features="codes")
        np.testing.assert_array_equal(check_pickle(adapter), tree.predict(codes_of(20)))
        assert (adapter.inputs, adapter.outputs) == ("codes", None)
        ridge = Ridge().fit(flat(self.codes), self.y)
        adapter = models.sklearn(ridge)
        np.testing.assert_array_equal(check_pickle(adapter), ridge.predict(flat(codes_of(20))))
        assert sketched(adapter).r2 > 0.99
        both = Ridge().fit(flat(self.codes), np.stack([self.y, -self.y], axis=1))
        np.testing.assert_array_equal(
            models.sklearn(both, target=1)(onehot(self.codes)), both.predict(flat(self.codes))[:, 1]
        )

    def test_pipelines_on_strings(self):
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        kmers = CountVectorizer(analyzer="char", ngram_range=(1, 2), lowercase=False)
        pipeline = make_pipeline(kmers, LogisticRegression()).fit(self.strings, self.labels)
        adapter = models.sklearn(pipeline, features=list)
        assert adapter.inputs == "strings"
        assert adapter.outputs == ("no", "some", "yes")
        np.testing.assert_array_equal(
            check_pickle(adapter), pipeline.predict_proba(SPACE.decode(codes_of(20)))
        )

    def test_classifiers(self):
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import SVC, LinearSVC

        x, features = onehot(self.codes), flat(self.codes)
        three = LogisticRegression().fit(features, self.labels)
        every = three.predict_proba(features)
        np.testing.assert_array_equal(models.sklearn(three)(x), every)
        one = models.sklearn(three, target="some")
        assert one.outputs is None
        np.testing.assert_array_equal(check_pickle(one, self.codes), every[:, 1])
        two = LogisticRegression().fit(features, self.y > 0.4)
        np.testing.assert_array_equal(models.sklearn(two)(x), two.predict_proba(features)[:, 1])
        np.testing.assert_array_equal(models.sklearn(two, target=False)(x), two.predict_proba(features)[:, 0])
        margin = LinearSVC().fit(features, self.y > 0.4)
        np.testing.assert_array_equal(models.sklearn(margin)(x), margin.decision_function(features))
        np.testing.assert_array_equal(
            models.sklearn(margin, target=False)(x), -margin.decision_function(features)
        )
        four = self.codes[:, 0]
        pairs = SVC(decision_function_shape="ovo").fit(features, four)
        with pytest.raises(ss.ModelError, match="decision_function_shape='ovr'"):
            models.sklearn(pairs, output="decision_function")(x)
        numbers = models.sklearn(pairs, output="predict")
        np.testing.assert_array_equal(numbers(x), pairs.predict(features))

    def test_estimators_of_lightgbm_and_xgboost(self):
        import lightgbm
        import xgboost

        light = lightgbm.LGBMClassifier(n_estimators=5, verbosity=-1, n_jobs=1).fit(self.codes, self.labels)
        adapter = models.sklearn(light, features="codes", target="yes")
        np.testing.assert_array_equal(check_pickle(adapter), light.predict_proba(codes_of(20))[:, 2])
        extreme = xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(flat(self.codes), self.y)
        adapter = models.sklearn(extreme)
        np.testing.assert_array_equal(check_pickle(adapter), extreme.predict(flat(codes_of(20))))

    def test_classes_that_only_resemble_an_estimator(self):
        class Constant:
            classes_ = None

            def predict(self, x):
                return np.full(len(x), 2.0)

        np.testing.assert_array_equal(models.sklearn(Constant())(onehot(self.codes)), np.full(400, 2.0))

    def test_bad_input(self):
        import lightgbm
        import xgboost
        from sklearn.linear_model import LinearRegression, LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        for unfitted in (
            LinearRegression(),
            make_pipeline(StandardScaler(), LinearRegression()),
            lightgbm.LGBMRegressor(),
            xgboost.XGBClassifier(),
        ):
            with pytest.raises(ss.InputError, match=f"the {type(unfitted).__name__} is not fitted"):
                models.sklearn(unfitted)
        with pytest.raises(ss.InputError, match="got the class LinearRegression"):
            models.sklearn(LinearRegression)
        with pytest.raises(ss.InputError, match="method predict, got function"):
            models.sklearn(score)
        fitted = LogisticRegression().fit(flat(self.codes), self.labels)
        with pytest.raises(ss.InputError, match=r"one of the classes \['no', 'some', 'yes'\], got 'maybe'"):
            models.sklearn(fitted, target="maybe")
        with pytest.raises(ss.InputError, match="output='predict' returns the class"):
            models.sklearn(fitted, output="predict", target="yes")
        with pytest.raises(ss.InputError, match="features must be one of 'onehot', 'codes'"):
            models.sklearn(fitted, features="one-hot")
        with pytest.raises(ss.InputError, match="the SVC has no method predict_proba"):
            models.sklearn(SVC().fit(flat(self.codes), self.labels), output="predict_proba")
        wrong = models.sklearn(fitted, features="codes")
        with pytest.raises(ss.ModelError, match=r"on 20 features, but .*'codes' gives 5"):
            wrong(self.codes)
        wrong = models.sklearn(LinearRegression().fit(self.codes, self.y))
        with pytest.raises(ss.ModelError, match=r"fitted on 5 features.* gives 20; try features='codes'"):
            wrong(onehot(self.codes))
        wrong = models.sklearn(fitted, features=lambda sequences: np.zeros((len(sequences), 3)))
        with pytest.raises(ss.ModelError, match="the function passed as features= returns 3"):
            wrong(self.strings)
        plain = models.sklearn(LinearRegression().fit(flat(self.codes), self.y), target=1)
        with pytest.raises(ss.ModelError, match="no output 1; it has 1"):
            plain(onehot(self.codes))


class TestBooster:
    codes, y = TestSklearn.codes, TestSklearn.y

    def test_lightgbm(self):
        import lightgbm

        options = {"verbosity": -1, "num_threads": 1}
        booster = lightgbm.train(options, lightgbm.Dataset(flat(self.codes), self.y), 40)
        adapter = models.booster(booster)
        np.testing.assert_array_equal(check_pickle(adapter), booster.predict(flat(codes_of(20))))
        assert sketched(adapter).r2 > 0.99
        with pytest.raises(ss.ModelError, match=r"lightgbm booster was fitted on 20 features.* 5"):
            models.booster(booster, features="codes")(self.codes)
        options |= {"objective": "multiclass", "num_class": 4}
        many = lightgbm.train(options, lightgbm.Dataset(self.codes, self.codes[:, 1]), 2)
        every = many.predict(self.codes)
        np.testing.assert_array_equal(models.booster(many, "codes")(self.codes), every)
        np.testing.assert_array_equal(models.booster(many, "codes", target=3)(self.codes), every[:, 3])
        with pytest.raises(ss.ModelError, match="no output 4; it has 4"):
            models.booster(many, "codes", target=4)(self.codes)

    def test_xgboost(self):
        import xgboost
        from scipy.sparse import csr_matrix

        kinds = {"feature_types": ["c"] * 5, "feature_names": list("abcde"), "enable_categorical": True}
        data = xgboost.DMatrix(self.codes, self.y, **kinds)
        booster = xgboost.train({"nthread": 1}, data, 20)
        adapter = models.booster(booster, features="codes")
        expected = booster.predict(xgboost.DMatrix(codes_of(20), **kinds))
        np.testing.assert_array_equal(check_pickle(adapter), expected)
        assert sketched(adapter).r2 > 0.99
        with pytest.raises(ss.ModelError, match=r"xgboost booster was fitted on 5 features.*'codes'"):
            models.booster(booster)(onehot(self.codes))
        sparse = csr_matrix(flat(self.codes))
        booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(sparse, self.y), 20)
        adapter = models.booster(booster, features=lambda s: csr_matrix(flat(SPACE.encode(s))))
        np.testing.assert_array_equal(
            adapter(SPACE.decode(self.codes)), booster.predict(xgboost.DMatrix(sparse))
        )

    def test_bad_input(self):
        import lightgbm
        from sklearn.linear_model import LinearRegression

        with pytest.raises(ss.InputError, match=r"got LinearRegression; use models.sklearn"):
            models.booster(LinearRegression())
        booster = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(self.codes, self.y), 1)
        with pytest.raises(ss.InputError, match=r"a Booster is not an estimator; use models.booster"):
            models.sklearn(booster)


def network(inputs="onehot", outputs=1):
    torch = pytest.importorskip("torch", reason=HEAVY)
    torch.manual_seed(0)
    head = torch.nn.Linear(8, outputs)
    if inputs == "codes":
        body = torch.nn.Sequential(torch.nn.Embedding(4, 8), torch.nn.Flatten(), torch.nn.Linear(40, 8))
    else:
        body = torch.nn.Sequential(torch.nn.Conv1d(4, 8, 3), torch.nn.Flatten(), torch.nn.Linear(24, 8))
    return torch.nn.Sequential(body, torch.nn.Tanh(), torch.nn.Dropout(0.5), head)


class TestTorch:
    def test_equals_the_module(self):
        torch = pytest.importorskip("torch", reason=HEAVY)
        codes = codes_of(30)
        x = torch.from_numpy(onehot(codes).transpose(0, 2, 1).copy())
        for outputs in (1, 3):
            module = network(outputs=outputs).eval()
            with torch.no_grad():
                expected = module(x).double().numpy()
            adapter = models.torch(module, batch_size=7, device="cpu")
            values = check_pickle(adapter, codes)
            np.testing.assert_allclose(
                values, expected[:, 0] if outputs == 1 else expected, rtol=1e-6, atol=1e-7
            )
        np.testing.assert_allclose(models.torch(module, target=2)(onehot(codes)), expected[:, 2], atol=1e-6)
        half = models.torch(module.bfloat16(), dtype="bfloat16", target=2)(onehot(codes))
        np.testing.assert_allclose(half, expected[:, 2], atol=0.1)
        module = network("codes").eval()
        adapter = models.torch(module, layout="codes")
        assert adapter.inputs == "codes"
        with torch.no_grad():
            expected = module(torch.from_numpy(codes.astype(np.int64)))[:, 0].numpy()
        np.testing.assert_allclose(check_pickle(adapter, codes), expected, rtol=1e-6, atol=1e-7)
        squeezes = torch.nn.Sequential(network(), torch.nn.Flatten(0)).eval()
        last = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 1))
        for layout in ("flat", "channels_last"):
            with torch.no_grad():
                expected = last(torch.from_numpy(flat(codes)).float())[:, 0].numpy()
            values = models.torch(last, layout=layout)(onehot(codes))
            np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)
        assert models.torch(squeezes, batch_size=29)(onehot(codes)).shape == (30,)

    def test_modes_are_restored(self):
        torch = pytest.importorskip("torch", reason=HEAVY)
        module = network().train()
        module[2].eval()
        modes = [part.training for part in module.modules()]
        adapter = models.torch(module, batch_size=2)
        x = onehot(codes_of(64))
        expected = adapter(x)
        with ThreadPoolExecutor(4) as pool:
            for values in pool.map(adapter, [x] * 12):
                np.testing.assert_array_equal(values, expected)
        assert [part.training for part in module.modules()] == modes
        assert all(p.requires_grad and p.grad is None for p in module.parameters())

        class Fails(torch.nn.Module):
            def forward(self, x):
                raise RuntimeError("out of memory")

        failing = Fails()
        with pytest.raises(RuntimeError, match="out of memory"):
            models.torch(failing)(x)
        assert failing.training

    def test_nested_adapters_can_be_sketched(self):
        pytest.importorskip("torch", reason=HEAVY)
        linear = network()[:1]  # its first output is a sum over positions
        both = models.reverse_complement(models.torch(linear, target=0))
        adapter = models.template(both, "NNGNN", alphabet=ss.DNA)
        space = ss.SequenceSpace(ss.DNA, adapter.length)
        assert adapter.inputs == "onehot"
        check_pickle(adapter, codes_of(20, space), space)
        sketch = sketched(adapter, space)
        assert sketch.r2 > 0.999
        whole = SPACE.encode(["ACGTT", "AAGTG"])
        back = 3 - whole[:, ::-1]
        adapter_of_linear = models.torch(linear, target=0)
        expected = (adapter_of_linear(onehot(whole)) + adapter_of_linear(onehot(back))) / 2
        np.testing.assert_allclose(sketch.predict(["ACTT", "AATG"]), expected, atol=1e-5)

    def test_bad_input(self):
        torch = pytest.importorskip("torch", reason=HEAVY)
        module = network()
        with pytest.raises(ss.InputError, match="dtype must be a torch dtype"):
            models.torch(module, dtype="float33")
        with pytest.raises(ss.InputError, match="device 'gpu' is not a torch device"):
            models.torch(module, device="gpu")
        with pytest.raises(ss.InputError, match="layout must be one of"):
            models.torch(module, layout="channels")
        with pytest.raises(ss.InputError, match="batch_size must be at least 1"):
            models.torch(module, batch_size=0)
        with pytest.raises(ss.InputError, match="got the class Linear"):
            models.torch(torch.nn.Linear)
        with pytest.raises(ss.ModelError, match="no output 1; it has 1"):
            models.torch(module, target=1)(onehot(codes_of(3)))
        with pytest.raises(ss.ModelError, match="returned tuple, expected a tensor"):
            models.torch(torch.nn.LSTM(4, 3), layout="channels_last")(onehot(codes_of(3)))


def test_torch_takes_modules_only():
    with pytest.raises(ss.InputError, match=r"torch.nn.Module, got function; use models.array"):
        models.torch(score)


# Keras does not support the `copy` argument of NumPy 2 yet.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
class TestKeras:
    @pytest.fixture
    def keras(self):
        keras = pytest.importorskip("keras", reason=HEAVY)
        keras.utils.set_random_seed(0)
        return keras

    def test_equals_the_model(self, keras):
        codes = codes_of(30)
        x = onehot(codes)
        layers = keras.layers
        model = keras.Sequential(
            [keras.Input((5, 4)), layers.Conv1D(6, 3, activation="tanh"), layers.Flatten(), layers.Dense(2)]
        )
        expected = model.predict(x, verbose=0)
        adapter = models.keras(model, batch_size=7)
        assert adapter.inputs == "onehot"
        assert adapter.outputs is None
        np.testing.assert_allclose(check_pickle(adapter, codes), expected, rtol=1e-5, atol=1e-6)
        values = models.keras(model, target=1)(x)
        np.testing.assert_allclose(values, expected[:, 1], rtol=1e-5, atol=1e-6)
        tokens = keras.Sequential(
            [keras.Input((5,), dtype="int32"), layers.Embedding(4, 3), layers.Flatten(), layers.Dense(1)]
        )
        adapter = models.keras(tokens, layout="codes")
        assert adapter.inputs == "codes"
        expected = tokens.predict(codes.astype("int32"), verbose=0)[:, 0]
        np.testing.assert_allclose(adapter(codes), expected, rtol=1e-5, atol=1e-6)
        assert sketched(adapter).r2 > 0.999

    def test_several_outputs(self, keras):
        layers = keras.layers
        source = keras.Input((20,))
        one, two = (layers.Dense(1, name=name)(source) for name in ("donor", "acceptor"))
        x = onehot(codes_of(10))
        expected = keras.Model(source, two).predict(x.reshape(10, -1), verbose=0)[:, 0]
        for outputs in ([one, two], {"donor": one, "acceptor": two}):
            model = keras.Model(source, outputs)
            adapter = models.keras(model, layout="flat")
            assert set(adapter.outputs) == {"donor", "acceptor"}
            column = adapter.outputs.index("acceptor")
            np.testing.assert_allclose(adapter(x)[:, column], expected, rtol=1e-5, atol=1e-6)
            single = models.keras(model, layout="flat", target="acceptor")
            assert single.outputs is None
            np.testing.assert_allclose(single(x), expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(models.select(adapter, "acceptor")(x), expected, rtol=1e-5, atol=1e-6)
        with pytest.raises(ss.InputError, match="target must be one of 'donor', 'acceptor'"):
            models.keras(keras.Model(source, [one, two]), target="doner")
        wide = keras.Model(source, [one, layers.Dense(3)(source)])
        with pytest.raises(ss.ModelError, match="expected one number for each sequence"):
            models.keras(wide, layout="flat")(x)


def test_keras_takes_keras_models_only():
    with pytest.raises(ss.InputError, match=r"keras.Model, got function; use models.array"):
        models.keras(score)


inputs = st.sampled_from(["strings", "codes", "onehot"])


class TestTemplate:
    @given(st.data(), inputs, st.sampled_from([ss.DNA, "GUCA", "AB", ss.PROTEIN]))
    def test_equals_its_definition(self, data, inputs, alphabet):
        length = data.draw(st.integers(1, 9))
        text = data.draw(st.text(alphabet, min_size=length, max_size=length))
        positions = sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=1)))
        space = ss.SequenceSpace(alphabet, len(positions))
        codes = codes_of(6, space, data.draw(st.integers(0, 99)))
        expected = []
        for sequence in space.decode(codes):
            whole = list(text)
            for position, symbol in zip(positions, sequence, strict=True):
                whole[position] = symbol
            expected.append("".join(whole))
        mask = [position in positions for position in range(length)]
        marked = "".join("-" if free else symbol for free, symbol in zip(mask, text, strict=True))
        model = Scored(alphabet, inputs)
        batch = {"strings": space.decode(codes), "codes": codes, "onehot": onehot(codes, space.q)}[inputs]
        for adapter in (
            models.template(model, text, positions=positions, alphabet=alphabet),
            models.template(model, text, positions=mask, alphabet=alphabet),
            models.template(model, marked, free="-", alphabet=alphabet),
        ):
            assert (adapter.inputs, adapter.length) == (inputs, len(positions))
            assert adapter.positions.tolist() == positions
            np.testing.assert_array_equal(adapter(batch), score(expected))

    def test_can_be_pickled_and_sketched(self):
        adapter = models.template(score, "acgtNNxNyN")
        space = ss.SequenceSpace(ss.DNA, 4)
        np.testing.assert_array_equal(
            check_pickle(adapter, space.encode(["ACGT"]), space), score(["acgtACxGyT"])
        )
        assert sketched(adapter, space).r2 > 0.999
        kept = models.template(models.select(named, "g"), "GGN")
        assert kept(["G", "A"]).tolist() == [3, 2]

    def test_templates_may_be_longer_than_sequences(self):
        adapter = models.template(Scored(ss.DNA, "codes"), "acgt" * 2000 + "NN", alphabet=ss.DNA)
        assert adapter.length == 2
        assert adapter(np.zeros((1, 2), np.uint8)) == score(["ACGT" * 2000 + "AA"])

    def test_bad_input(self):
        codes = Scored(ss.DNA, "codes")
        cases = [
            ((score, "ACGT"), {}, "none of its symbols is 'N'"),
            ((score, ""), {}, "template must be a string"),
            ((score, "ACNN"), {"free": "NN"}, "free must be one symbol"),
            ((score, "MNN"), {"alphabet": ss.PROTEIN}, "cannot be marked with 'N', a symbol of the alphabet"),
            ((codes, "ACNN"), {}, "takes codes, so its template needs an alphabet"),
            ((codes, "AXNN"), {"alphabet": ss.DNA}, "symbol 'X' at position 1"),
            ((codes, "ANNN"), {"alphabet": "AA"}, "alphabet"),
            ((score, "ACGT"), {"positions": []}, "there is no free position"),
            ((score, "ACGT"), {"positions": [4]}, "4 is out of range"),
            ((score, "ACGT"), {"positions": [-1]}, "-1 is out of range"),
            ((score, "ACGT"), {"positions": [2, 1]}, "must be increasing"),
            ((score, "ACGT"), {"positions": [0.5]}, "list of integers"),
            ((score, "ACGT"), {"positions": [True, False]}, "mask has 2 entries"),
            ((score, "NN"), {"inputs": "string"}, "did you mean 'strings'"),
            ((3, "NN"), {}, "callable"),
        ]
        for arguments, options, message in cases:
            with pytest.raises(ss.InputError, match=message):
                models.template(*arguments, **options)
        with pytest.raises(ss.InputError, match=r"2 free positions, and 'ACG' has 3 symbols.*alphabet, 2\)"):
            models.template(score, "ANNT")(["ACG"])
        adapter = models.template(codes, "ANNT", alphabet=ss.DNA)
        with pytest.raises(ss.InputError, match="2 free positions, and every sequence of the batch has 5"):
            adapter(codes_of(2))
        adapter = models.template(Scored(ss.DNA, "onehot"), "ANNT", alphabet=ss.DNA)
        with pytest.raises(ss.InputError, match="has 4 symbols, but the one-hot array has 5"):
            adapter(np.zeros((3, 2, 5)))


class TestReverseComplement:
    @given(st.data(), inputs, st.sampled_from([ss.DNA, "TCAG", "GCUA", "AT", "CG", "acgt"]))
    def test_equals_its_definition(self, data, inputs, alphabet):
        space = ss.SequenceSpace(alphabet, data.draw(st.integers(1, 7)))
        codes = codes_of(6, space, data.draw(st.integers(0, 99)))
        forward = space.decode(codes)
        pairs = {"A": "U" if "U" in alphabet else "T", "C": "G", "G": "C", "T": "A", "U": "A"}
        pairs |= {one.lower(): other.lower() for one, other in pairs.items()}
        reverse = ["".join(pairs[symbol] for symbol in reversed(sequence)) for sequence in forward]
        batch = {"strings": forward, "codes": codes, "onehot": onehot(codes, space.q)}[inputs]
        one, other = score(forward), score(reverse)
        model = Scored(alphabet, inputs)
        for combine, expected in {
            "mean": (one + other) / 2,
            "max": np.maximum(one, other),
            "min": np.minimum(one, other),
            np.subtract: one - other,
        }.items():
            adapter = models.reverse_complement(model, alphabet, combine)
            assert adapter.inputs == inputs
            np.testing.assert_array_equal(adapter(batch), expected)

    def test_can_be_pickled_and_sketched(self):
        check_pickle(models.reverse_complement(models.select(named, "a")))
        space = ss.SequenceSpace(ss.DNA, 3)
        inside = models.template(models.reverse_complement(score), "N-G--T", free="-")
        np.testing.assert_array_equal(
            check_pickle(inside, space.encode(["CAT"]), space), (score(["NCGATT"]) + score(["AATCGN"])) / 2
        )
        assert sketched(inside, space).r2 > 0.999

    def test_keeps_several_outputs(self):
        both = models.reverse_complement(models.array(weighted))
        x = onehot(codes_of(4))
        expected = (weighted(x) + weighted(x[:, ::-1, ::-1])) / 2
        np.testing.assert_allclose(both(x), expected)
        assert models.reverse_complement(named)(["AACC"])["g"].tolist() == [1.0]

    def test_bad_input(self):
        for alphabet, message in {
            "ACG": "has 'A' without its complement 'T'",
            "ACGTU": "only alphabets of the symbols",
            ss.PROTEIN: "only alphabets of the symbols",
            "AA": "alphabet",
        }.items():
            with pytest.raises(ss.InputError, match=message):
                models.reverse_complement(score, alphabet)
        with pytest.raises(ss.InputError, match="combine must be one of"):
            models.reverse_complement(score, combine="median")
        with pytest.raises(ss.InputError, match="'U' has no complement in the alphabet 'ACGT'"):
            models.reverse_complement(score)(["ACGU"])
        adapter = models.reverse_complement(Scored("AT", "onehot"), "AT")
        with pytest.raises(ss.InputError, match=r"at least 4 symbols, but the alphabet .* 2, 'AT'"):
            adapter(onehot(codes_of(2)))


class TestSelect:
    def test_by_name_and_number(self):
        strings = ["GGA", "AAA"]
        assert models.select(named, "a")(strings).tolist() == [1, 3]
        assert models.select(named, 0)(strings).tolist() == [2, 0]
        assert check_pickle(models.select(named, "g")).shape == (20,)
        adapter = models.select(models.array(weighted), 1)
        assert adapter.inputs == "onehot"
        np.testing.assert_array_equal(adapter(onehot(codes_of(3))), np.ones(3))

    def test_bad_input(self):
        array = models.array(weighted)
        declared = dataclasses.replace(array, outputs=("first", "second"))
        x = onehot(codes_of(3))
        np.testing.assert_array_equal(models.select(declared, "second")(x), np.ones(3))
        with pytest.raises(ss.InputError, match="did you mean 'second'"):
            models.select(declared, "secnd")
        with pytest.raises(
            ss.InputError, match="output 2 is out of range, the model has 2 outputs: 'first', 'second'"
        ):
            models.select(declared, 2)
        with pytest.raises(ss.InputError, match="output must be at least 0"):
            models.select(array, -1)
        with pytest.raises(ss.ModelError, match="does not name its outputs; pass its index"):
            models.select(array, "second")(x)
        with pytest.raises(ss.ModelError, match="no output 2; it has 2"):
            models.select(array, 2)(x)
        for output in ("c", 2):
            with pytest.raises(ss.ModelError, match=f"outputs 'g', 'a', without {output!r}"):
                models.select(named, output)(["A"])


def program(code):
    return [sys.executable, "-c", textwrap.dedent(code)]


COUNTS = "import sys\nfor line in sys.stdin: print(line.count('G') + 0.5)"


class TestCommand:
    batch = ("GGA", "AAA", "GCG")

    def test_lines(self):
        adapter = models.command(program(COUNTS), timeout=60)
        assert adapter(list(self.batch)).tolist() == [2.5, 0.5, 2.5]
        check_pickle(adapter)
        assert sketched(adapter, ss.SequenceSpace(ss.DNA, 3)).r2 > 0.999

    def test_fasta_files_and_environment(self):
        code = """
            import os, sys
            text = open(sys.argv[1].removeprefix("--in=")).read()
            assert text == ">0\\nGGA\\n>1\\nAAA\\n>2\\nGCG\\n", text
            assert sys.stdin.read() == ""
            with open(sys.argv[2], "w") as out:
                for line in text.splitlines()[1::2]:
                    out.write(f"{line.count('G') + float(os.environ['EXTRA'])}\\n")
        """
        arguments = [*program(code), "--in={input}", "{output}"]
        adapter = models.command(arguments, input="fasta", env={"EXTRA": "10"})
        assert adapter(self.batch).tolist() == [12, 10, 12]
        assert "EXTRA" not in os.environ

    @pytest.mark.parametrize(
        ("printed", "output"),
        [
            ("id\tscore\na\t1\nb\t2\nc\t3\n", ("tsv", "score")),
            ("a\t1\nb\t2\nc\t3\n\n", ("tsv", 1)),
            ('"a, b",1\nb,2\nc,3', ("csv", 1)),
            ("1\n 2 \n3e0\n", "lines"),
        ],
    )
    def test_outputs(self, printed, output):
        adapter = models.command(program(f"print({printed!r}, end='')"), output=output)
        assert adapter(self.batch).tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("code", "output", "message"),
        [
            ("import sys; sys.exit('no such weights')", "lines", "status 1; the end .*: no such weights"),
            ("print(1)", "lines", "printed 1 scores for 3 sequences"),
            ("print('1\\nx\\n3')", "lines", "no number in line 2, which has 'x'"),
            ("print('1\\n\\n3')", "lines", "no number in line 2, which has ''"),
            ("print('s\\tt\\n1\\t2\\n1\\t2\\n1')", ("tsv", "t"), "no number in line 4, which has 1 columns"),
            ("print('s\\n1\\n1\\n1')", ("tsv", "t"), r"no column 't', its header is \['s'\]"),
            ("", ("csv", "t"), "no column 't'"),
        ],
    )
    def test_errors_of_programs(self, code, output, message):
        with pytest.raises(ss.ModelError, match=message):
            models.command(program(code), output=output)(self.batch)

    def test_missing_programs_and_programs_that_do_not_end(self):
        with pytest.raises(ss.ModelError, match="program 'no-such-predictor' was not found"):
            models.command(["no-such-predictor"])(self.batch)
        with pytest.raises(ss.ModelError, match="cannot be started"):
            models.command([os.path.dirname(__file__)])(self.batch)
        with pytest.raises(ss.ModelError, match=r"did not write the file \{output\}"):
            models.command([*program(""), "{output}"])(self.batch)
        # This program starts another one, which keeps the pipe open.
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
        start = time.monotonic()
        with pytest.raises(ss.ModelError, match=r"took more than 0.5 s for 3 sequences"):
            models.command(program(code), timeout=0.5)(self.batch)
        assert time.monotonic() - start < 30

    def test_bad_input(self):
        for arguments, options, message in [
            ("predict --fast", {}, "shlex.split"),
            ([], {}, "the list is empty"),
            (["a", 3], {}, r"arguments\[1\] must be a string or a path, got 3 \(int\)"),
            (["a"], {"input": "fastq"}, "did you mean 'fasta'"),
            (["a"], {"output": "json"}, "output must be 'lines'"),
            (["a"], {"output": ("json", 1)}, "output must be one of 'tsv', 'csv'"),
            (["a"], {"output": ("tsv", -1)}, "the column of output must be at least 0"),
            (["a"], {"timeout": 0}, "positive number of seconds"),
        ]:
            with pytest.raises(ss.InputError, match=message):
                models.command(arguments, **options)


class TestImported:
    SOURCE = """
        from shapsketch import models
        instances = []
        def plain(sequences):
            return [len(s) for s in sequences]
        class Loaded:
            inputs = "codes"
            outputs = ("first", "last")
            def __init__(self):
                instances.append(1)
            def __call__(self, codes):
                return codes[:, [0, -1]].astype(float)
        def make():
            return lambda sequences: [float(len(instances)) for _ in sequences]
        class Holder:
            model = staticmethod(plain)
        adapter = models.array(lambda x: x[:, 0, 0])
        number = 3
        def broken():
            raise OSError("no weights")
    """

    @pytest.fixture
    def home(self, tmp_path, monkeypatch):
        folder = tmp_path / "homemade"
        folder.mkdir()
        (folder / "predictors.py").write_text(textwrap.dedent(self.SOURCE))
        (folder / "needs.py").write_text("import no_such_dependency")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
        yield tmp_path
        for name in [name for name in sys.modules if name.partition(".")[0] == "homemade"]:
            del sys.modules[name]
        for path in [path for path in models.imports._LOADED if path.startswith("homemade")]:
            del models.imports._LOADED[path]

    def test_functions_attributes_and_calls(self, home):
        strings = ["A", "CG"]
        assert list(models.imported("homemade.predictors:plain")(strings)) == [1, 2]
        assert list(models.imported("homemade.predictors:Holder.model")(strings)) == [1, 2]
        assert models.imported("homemade.predictors:make()")(strings) == [0.0, 0.0]
        adapter = models.imported("homemade.predictors:adapter")
        assert adapter.inputs == "onehot"
        assert models.imported("homemade.predictors:plain").inputs == "strings"
        assert models.imported("homemade.predictors:plain", inputs="codes").inputs == "codes"

    def test_is_imported_once_at_the_first_use(self, home):
        adapter = models.imported("homemade.predictors:Loaded")
        assert "homemade.predictors" not in sys.modules
        assert len(pickle.dumps(adapter)) < 200
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(adapter, [codes_of(3)] * 8))
        assert (adapter.inputs, adapter.outputs) == ("codes", ("first", "last"))
        assert check_pickle(adapter).shape == (20, 2)
        assert sum(sys.modules["homemade.predictors"].instances) == 1
        assert sketched(models.select(adapter, "last")).r2 > 0.999

    def test_only_workers_import_the_model(self, home):
        """A cluster may have modules that this process does not have."""
        for inputs in ("strings", "codes"):
            adapter = models.imported("homemade.predictors:plain", inputs=inputs)
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                sketch = by_evaluator(
                    ss.sketch, adapter, SPACE, budget=600, method="regress", progress=False, executor=pool
                )
            assert sketch.predict(["ACGTA"]) == pytest.approx([5.0])
            assert "homemade.predictors" not in sys.modules

    def test_other_processes_import_it_from_the_current_folder(self, home):
        path = home / "adapter"
        path.write_bytes(pickle.dumps(models.imported("homemade.predictors:plain")))
        code = "import pickle, sys; sys.path.remove(''); print(pickle.load(open('adapter', 'rb'))(['ACG']))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[3]\n"

    def test_bad_input(self, home):
        for path, message in {
            "package.module.name": "did you mean 'package.module:name'",
            "package": "must be 'package.module:name', got 'package'",
            "package:": "must be",
            "package:name(3)": "must be",
        }.items():
            with pytest.raises(ss.InputError, match=message):
                models.imported(path)
        with pytest.raises(ss.InputError, match="inputs must be one of"):
            models.imported("package:name", inputs="text")
        for name, error, message in [
            ("elsewhere:plain", ss.InputError, "there is no module 'homemade.elsewhere'"),
            ("predictors:plane", ss.InputError, "has no 'plane'; did you mean 'plain'"),
            (
                "predictors:Holder.modle",
                ss.InputError,
                r"'homemade.predictors.Holder' \(.*predictors.py\) has no 'modle'; .*'model'",
            ),
            (
                "predictors:number",
                ss.InputError,
                "'homemade.predictors.number' is of type int, which is not callable",
            ),
            ("predictors:number()", ss.InputError, "is of type int, which is not callable"),
            ("predictors:Holder", ss.InputError, r"Holder\(\)' is of type Holder, which is not callable"),
            ("predictors:broken()", ss.ModelError, "calling .* raised OSError: no weights"),
            (
                "needs:model",
                ss.ModelError,
                "importing 'homemade.needs' raised ModuleNotFoundError: .*dependency",
            ),
        ]:
            with pytest.raises(error, match=message):
                models.imported(f"homemade.{name}")(["A"])


class TestTable:
    strings = SPACE.decode(codes_of(200))
    values = score(strings)

    def write(self, path, rows, header="sequence,score"):
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    def scores(self):
        return [f"{sequence},{value}" for sequence, value in zip(self.strings, self.values, strict=True)]

    def test_csv_and_parquet(self, tmp_path):
        import pandas

        frame = pandas.DataFrame({"name": "x", "sequence": self.strings, "score": self.values})
        frame["twice"] = 2 * frame["score"]
        frame.to_csv(tmp_path / "scores.csv.gz", index=False)
        frame.to_csv(tmp_path / "scores.tsv", index=False, sep="\t")
        frame.to_parquet(tmp_path / "scores.parquet")
        expected = score(SPACE.decode(codes_of(20)))
        for name in ("scores.csv.gz", "scores.tsv", "scores.parquet"):
            both = models.table(tmp_path / name)
            assert both.outputs == ("score", "twice")
            np.testing.assert_array_equal(check_pickle(both), np.stack([expected, 2 * expected], axis=1))
            one = models.table(tmp_path / name, "twice")
            assert (one.inputs, one.outputs) == ("strings", None)
            np.testing.assert_array_equal(check_pickle(one), 2 * expected)
            assert models.table(tmp_path / name, ["score"]).outputs is None

    def test_sketches(self, tmp_path):
        space = ss.SequenceSpace(ss.DNA, 4)
        everything = ["".join(symbols) for symbols in itertools.product(ss.DNA, repeat=4)]
        rows = [f"{s},{v}" for s, v in zip(everything, score(everything), strict=True)]
        assert sketched(models.table(self.write(tmp_path / "a.csv", rows)), space).r2 > 0.999

    def test_unusual_sequences_and_missing_scores(self, tmp_path):
        # Sequences that look like missing values, have several lengths, are not ASCII, or are repeated.
        rows = ["NA,1", "null,2", "αβγ,3", "αβ,4", "NA,1", "C,nan", "G,", "GG,NA"]
        model = models.table(self.write(tmp_path / "a.csv", rows))
        assert repr(model).endswith("a.csv', 7 sequences)")
        assert model(["αβ", "NA", "αβγ", "null"]).tolist() == [4, 1, 3, 2]
        for line, missing in ((7, "C"), (8, "G"), (9, "GG")):
            with pytest.raises(ss.ModelError, match=f"line {line}: the score of '{missing}' is missing"):
                model(["NA", missing])
        for near in ("nulls", "nul", "N", "", "Z"):
            with pytest.raises(ss.ModelError, match=f"no score for '{near}'; 1 of the 2 requested"):
                model(["NA", near])

    def test_bad_input(self, tmp_path, monkeypatch):
        cases = [
            (
                ["A,1", "C,2", "A,3"],
                {},
                ss.InputError,
                "'A' occurs more than once, with the values 1 and 3 of 'score'",
            ),
            (["A,1"], {"column": "value"}, ss.InputError, "no column 'value', .*'score'"),
            (["A,1"], {"header": "seq,score"}, ss.InputError, "no column 'sequence'"),
            (["A,1"], {"header": "sequence,sequence"}, ss.InputError, "there is no column of scores"),
            (["A,1,2"], {"header": "sequence,s,s"}, ss.InputError, "several columns 's'"),
            (["A,1", "", "C,high"], {}, ss.FileError, "line 4: 'high' in the column 'score' is not a number"),
            (["A,1", "C,1,2"], {}, ss.FileError, "line 3: it has 3 values, but the header has 2"),
            ([], {}, ss.FileError, "no rows"),
        ]
        for rows, options, error, message in cases:
            path = self.write(tmp_path / "a.csv", rows, options.pop("header", "sequence,score"))
            with pytest.raises(error, match=message):
                models.table(path, **options)
        (tmp_path / "empty.csv").write_text("")
        for name in ("empty.csv", "missing.csv", "missing.parquet", "."):
            with pytest.raises((ss.FileError, ss.InputError), match=name):
                models.table(tmp_path / name)
        with pytest.raises(ss.FileError, match=r"a\.parquet"):
            models.table((tmp_path / "a.csv").rename(tmp_path / "a.parquet"))
        with pytest.raises(ss.InputError, match=r"format from the extension; use one of \.tsv"):
            models.table(tmp_path / "scores.xlsx")
        monkeypatch.setitem(sys.modules, "xopen", None)
        with pytest.raises(ss.MissingExtraError, match=r"shapsketch\[files\]"):
            models.table(tmp_path / "a.csv")


class TestCheck:
    space = ss.SequenceSpace(ss.DNA, length=12)

    def test_a_good_model(self, caplog):
        for inputs in ("strings", "codes", "onehot"):
            report = models.check(Scored(ss.DNA, inputs), self.space)
            assert (report.repeatable, report.batch_independent, report.constant) == (True, True, False)
            assert report.messages == []
            assert report.repeat_difference == report.batch_difference == 0.0
            assert report.spread > 0
            assert report.n_calls == 18
        assert not caplog.records

    def test_rounding_errors_are_ignored(self):
        calls = []

        def rounds(sequences):
            calls.append(1)
            return 1000 + score(sequences) * (1 + 3e-6 * len(calls) / 10)

        report = models.check(rounds, self.space)
        assert report.repeatable
        assert report.batch_independent
        assert report.repeat_difference > 0

    def test_random_relative_and_constant_models(self, caplog):
        rng = np.random.default_rng(0)
        with caplog.at_level(logging.WARNING, "shapsketch"):
            report = models.check(lambda s: rng.normal(size=len(s)), self.space)
        assert not report.repeatable
        assert report.repeat_difference > 0.1
        assert [record.getMessage() for record in caplog.records] == report.messages
        report = models.check(lambda s: score(s) - score(s).mean(), self.space)
        assert report.repeatable
        assert not report.batch_independent
        assert "depends on its batch" in report.messages[0]
        report = models.check(lambda s: [1.0] * len(s), self.space)
        assert report.constant
        assert report.spread == 0
        assert "gave the same value to all 8" in report.messages[0]

    def test_several_outputs(self):
        report = models.check(models.array(weighted), self.space, outputs=["varies", "stays"], count=20)
        assert report.constant
        assert "its output 'stays'" in report.messages[0]
        report = models.check(dataclasses.replace(models.array(weighted), outputs=("a", "b")), self.space)
        assert report.constant

    def test_sequences_of_the_caller_and_small_spaces(self):
        report = models.check(score, self.space, sequences=["ACGT" * 3, "GGGT" * 3])
        assert report.n_calls == 6
        evaluated = set()

        def model(sequences):
            evaluated.update(sequences)
            return score(sequences)

        assert models.check(model, ss.SequenceSpace("AB", 2)).n_calls == 10
        assert len(evaluated) == 4
        evaluated.clear()
        models.check(model, ss.SequenceSpace("AB", 5), count=10)
        assert len(evaluated) == 10

    def test_models_that_write_into_their_batch(self):
        def writes(codes):
            values = codes.sum(axis=1).astype(float)
            codes[:] = 0
            return values

        assert not models.check(writes, self.space, inputs="codes").messages

    def test_bad_input(self):
        with pytest.raises(ss.ModelError, match="nan"):
            models.check(lambda s: [np.nan] * len(s), self.space)
        with pytest.raises(ss.ModelError, match="one number for each sequence"):
            models.check(models.array(weighted), self.space)
        with pytest.raises(ss.InputError, match="pass at least two"):
            models.check(score, self.space, sequences=["ACGT" * 3])
        with pytest.raises(ss.InputError, match="count must be at least 2"):
            models.check(score, self.space, count=1)


class Pair(NamedTuple):
    g: float
    a: float


def counts(sequences):
    return [Pair(s.count("G"), 10.0 * s.count("A")) for s in sequences]


class TestNamedOutputs:
    """Outputs are matched by name, in any order."""

    def means(self, model, outputs, **options):
        sketches = by_evaluator(
            ss.sketch, model, SPACE, budget=SPACE.size, outputs=outputs, progress=False, **options
        )
        assert list(sketches) == list(outputs)
        return {name: sketches[name].predict(["GGGGG", "AAAAA"]).round(6).tolist() for name in outputs}

    @pytest.mark.parametrize("outputs", [["a", "g"], ["g", "a"], ["a"], ["g"]])
    def test_of_each_kind_of_output(self, outputs, tmp_path):
        import pandas
        import pyarrow

        def records(sequences):
            return np.array(counts(sequences), dtype=[("g", float), ("a", float)])

        pandas.DataFrame(
            {"sequence": ALL5, "g": [p.g for p in counts(ALL5)], "a": [p.a for p in counts(ALL5)]}
        ).to_parquet(tmp_path / "scores.parquet")
        expected = {name: {"g": [5.0, 0.0], "a": [0.0, 50.0]}[name] for name in outputs}
        for model in (
            counts,
            records,
            lambda s: pandas.DataFrame(counts(s)),
            lambda s: pyarrow.Table.from_pandas(pandas.DataFrame(counts(s))),
            lambda s: pyarrow.RecordBatch.from_pandas(pandas.DataFrame(counts(s))),
            lambda s: {"a": [p.a for p in counts(s)], "g": [p.g for p in counts(s)]},
            lambda s: Pair(*map(np.array, zip(*counts(s), strict=True))),
            models.table(tmp_path / "scores.parquet"),
            models.reverse_complement(counts, combine=lambda forward, _: forward),
        ):
            assert self.means(model, outputs) == expected

    def test_names_that_an_adapter_does_not_declare_are_refused(self, tmp_path):
        (tmp_path / "a.csv").write_text("sequence,donor,acceptor\n" + "".join(f"{s},1,2\n" for s in ALL5))
        model = models.table(tmp_path / "a.csv")
        for outputs in (["donr", "acceptor"], ["one", "two"]):
            with pytest.raises(
                ss.InputError, match=r"the model has no output '(donr|one)', .* 'donor', 'acceptor'"
            ):
                by_evaluator(ss.sketch, model, SPACE, budget=600, outputs=outputs, progress=False)
        with pytest.raises(ss.InputError, match="did you mean 'donor'"):
            models.check(model, SPACE, outputs=["donr"])
        one = models.table(tmp_path / "a.csv", "donor")
        assert self.means(one, ["donor"]) == {"donor": [1.0, 1.0]}

    def test_a_series_has_no_names(self):
        import pandas

        def model(sequences):
            return pandas.Series([s.count("G") for s in sequences], index=sequences)

        assert ss.sketch(model, SPACE, budget=600, progress=False).r2 > 0.999
        assert models.select(model, 0)(["GGG", "ACG"]).tolist() == [3, 1]

    def test_a_list_of_one_array_per_output_is_refused(self):
        def turned(sequences):
            return [[s.count("G") for s in sequences], [s.count("A") for s in sequences]]

        with pytest.raises(ss.ModelError, match="a list of one array per output was returned"):
            by_evaluator(
                ss.sketch, turned, SPACE, budget=600, outputs=["g", "a"], batch_size=2, progress=False
            )
        sketches = by_evaluator(
            ss.sketch,
            lambda s: np.transpose(turned(s)).tolist(),
            SPACE,
            budget=SPACE.size,
            outputs=["g", "a"],
            batch_size=2,
            progress=False,
        )
        assert sketches["g"].predict(["GGGGG"]) == pytest.approx([5.0])


class TestAlphabetsOfCodes:
    def test_must_match_the_space(self):
        space = ss.SequenceSpace("ATCG", 4)

        def first(codes):
            return (codes[:, 0] == 0) * 1.0

        turned = models.reverse_complement(first, inputs="codes")
        for model in (turned, models.template(turned, "GCNNNNAA", alphabet=ss.DNA), models.select(turned, 0)):
            with pytest.raises(
                ss.InputError, match=r"alphabet 'ACGT', .* 'ATCG'; create the adapter with alphabet='ATCG'"
            ):
                ss.sketch(model, space, budget=256, progress=False)
            with pytest.raises(ss.InputError, match="create the adapter with alphabet"):
                models.check(model, space)
        with pytest.raises(ss.InputError, match="create the adapter with alphabet='ATCG'"):
            models.template(turned, "GCNNNNAA", alphabet="ATCG")
        # RNA and DNA have the same codes.
        rna = ss.SequenceSpace(ss.RNA, 4)
        assert (
            ss.sketch(models.reverse_complement(first, inputs="codes"), rna, budget=256, progress=False).r2
            > 0.99
        )
        right = models.reverse_complement(first, alphabet="ATCG", inputs="codes")
        sketch = ss.sketch(right, space, budget=256, progress=False)
        np.testing.assert_allclose(sketch.predict(["CCCT", "ACCT", "CCCC"]), [0.5, 1.0, 0.0], atol=1e-9)
        # Strings do not depend on codes.
        strings = models.reverse_complement(lambda s: [float(x[0] == "A") for x in s])
        sketch = ss.sketch(strings, space, budget=256, progress=False)
        np.testing.assert_allclose(sketch.predict(["CCCT", "ACCT", "CCCC"]), [0.5, 1.0, 0.0], atol=1e-9)


def test_the_index_of_a_data_frame_is_not_a_score(tmp_path):
    import pandas

    frame = pandas.DataFrame({"sequence": ALL5, "ID": range(len(ALL5)), "g": [s.count("G") for s in ALL5]})
    frame = frame.sample(frac=1.0, random_state=0)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv")
    pandas.read_csv(tmp_path / "a.csv").to_csv(tmp_path / "b.csv", index=False)
    for name in ("a.parquet", "a.csv", "b.csv"):
        model = models.table(tmp_path / name)
        assert model.outputs is None
        assert model(["GGGGG", "AAGAA"]).tolist() == [5.0, 1.0]


def test_ambiguous_marks_of_free_positions_are_refused():
    for template, message in [
        ("ggcnnNNTT", "'n' at position 3 is constant, but 'N' marks free positions"),
        ("MKNNLFE", "'L' is an amino acid, so 'N' may be asparagine"),
    ]:
        with pytest.raises(ss.InputError, match=message):
            models.template(score, template)
    assert models.template(score, "MKXXLFE", free="X").length == 2
    assert models.template(score, "RYNNacgt").length == 2


def test_a_model_that_exits_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ended.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "ending.py").write_text("import sys\ndef score(s):\n    sys.exit(0)\n")
    with pytest.raises(ss.ModelError, match=r"importing 'ended' raised SystemExit: 0; .*__main__"):
        models.imported("ended:score")(["A"])
    with ThreadPoolExecutor(1) as pool, pytest.raises(ss.ModelError, match="lost a batch: SystemExit: 0"):
        by_evaluator(
            ss.sketch,
            models.imported("ending:score"),
            SPACE,
            budget=600,
            progress=False,
            executor=pool,
            retries=3,
        )
    # In this process SystemExit passes: it may come from a signal handler of the user, such as for SIGTERM.
    with pytest.raises(SystemExit):
        by_evaluator(ss.sketch, models.imported("ending:score"), SPACE, budget=600, progress=False, retries=3)


def test_errors_show_what_a_program_printed():
    code = "print('loading'); print('name,score,score')"
    with pytest.raises(
        ss.ModelError, match=r"printed 2 scores for 3 sequences; its output begins:\n  loading\n  name"
    ):
        models.command([sys.executable, "-c", code])(["A"] * 3)
    code = "print('name,score,score')"
    with pytest.raises(ss.ModelError, match="two columns 'score'"):
        models.command([sys.executable, "-c", code], output=("csv", "score"))(["A"])
    with pytest.raises(ss.InputError, match="env must map strings to strings, got 'Q': 1"):
        models.command(["x"], env={"Q": 1})


def test_constant_symbols_of_a_template_belong_to_its_alphabet():
    def model(sequences):
        return [float(s.count("G")) for s in sequences]

    with pytest.raises(ss.InputError, match="symbol 'N' at position 2 is neither free nor in the alphabet"):
        models.template(model, "GGNN", positions=[0], alphabet=ss.DNA)
    # Without an alphabet, the model may know what N means.
    assert models.template(model, "GGNN", positions=[0])(["A"]) == [1.0]
    assert models.template(model, "ggNN", alphabet=ss.DNA)(["AA"]) == [0.0]


def test_features_with_another_number_of_rows_name_the_function():
    codes = np.random.default_rng(0).integers(0, 4, (50, 4))
    linear = pytest.importorskip("sklearn.linear_model")
    estimator = linear.Ridge().fit(np.eye(4)[codes].reshape(50, -1), codes[:, 0])
    for rows in (np.zeros((3, 16)), np.zeros((3, 16)).tolist()):
        model = models.sklearn(estimator, features=lambda _, rows=rows: rows)
        with pytest.raises(ss.ModelError, match="passed as features= returned 3 rows for 2 sequences"):
            model(["ACGT", "AAAA"])


def test_a_crash_and_binary_output_of_a_program_are_readable():
    def run(code):
        models.command([sys.executable, "-c", code])(["ACG", "GGG"])

    with pytest.raises(ss.ModelError, match=r"crashed or was stopped \(signal 11, SIGSEGV\)"):
        run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ss.ModelError, match="output begins:") as caught:
        run("import sys; sys.stdout.buffer.write(bytes(range(256)))")
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("mine", "such as 'mine:predict'"),
        ("mine.py", "add the name of the model in this file, such as 'mine:predict'$"),
        ("./mine:predict", "modules have no folder: pass 'mine:predict'$"),
        ("models/mine.py:predict", "pass 'mine:predict', and start Python in the folder 'models'"),
    ],
)
def test_paths_of_files_are_not_paths_of_modules(path, hint):
    with pytest.raises(ss.InputError, match=hint):
        models.imported(path)


def test_a_missing_score_is_named_with_its_line(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("sequence,score\nACG,1\nGGG,\n")
    model = models.table(path)
    assert model(["ACG"]) == [1.0]
    with pytest.raises(
        ss.ModelError, match=r"scores\.csv, line 3: the score of 'GGG' is missing \(1 of the 2"
    ):
        model(["ACG", "GGG"])
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"sequence": ["ACG", "GGG"], "s": [1.0, None]}).to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(ss.ModelError, match="row 1: the score of 'GGG' is missing"):
        models.table(tmp_path / "scores.parquet")(["GGG"])
    # With several outputs, another one may be used.
    path.write_text("sequence,a,b\nACG,1,2\nGGG,,3\n")
    assert models.select(models.table(path), "b")(["GGG"]) == [3.0]


@pytest.mark.parametrize(
    ("name", "text", "column", "message"),
    [
        ("a.csv", "sequence,score\nACG,1\n", [], "column: the list is empty"),
        ("a.csv", "sequence,score\nACG,1\n", "sequence", "column: 'sequence' has the sequences"),
        ("a.csv", "sequence\tscore\nACG\t1\n", None, "seems to be a tab, but CSV needs a comma.* to .tsv$"),
        ("a.csv", "sequence|score\nACG|1\n", None, r"line 1: the delimiter seems to be '\|'"),
        ("a.tsv", "sequence,score\nACG,1\n", None, "seems to be a comma, but TSV needs a tab.* to .csv$"),
    ],
)
def test_tables_of_scores_that_cannot_be_used(tmp_path, name, text, column, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ss.InputError, match=message):
        models.table(tmp_path / name, column=column)
