"""Plots show the numbers of their results, and their labels neither overlap nor leave the figure."""

import itertools
import pickle
import sys

import matplotlib
import numpy as np
import pytest
import shapsketch as ss
from shapsketch import plot
from shapsketch.plot.figure import PALETTE, line_colours, styles
from toys import sketch_of_patterns

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib import colors, patches
from matplotlib.text import Text

ALPHABETS = {2: "01", 4: ss.DNA, 20: ss.PROTEIN}
SHAPES = [(2, 10), (4, 50), (20, 200)]
shapes = pytest.mark.parametrize(("q", "n"), SHAPES)
MANY = 12
batches = pytest.mark.parametrize(("q", "n", "count"), [(2, 10, MANY), (4, 50, 1), (20, 200, MANY)])


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def explained(q=4, n=10, count=MANY, seed=0):
    """Return an explainer of a random function of orders 1 and 2, and codes of sequences."""
    rng = np.random.default_rng(seed)
    frequencies, coefficients = [np.zeros(n, int)], [1.0]
    pairs = [(i, (i + 2 + i % 5) % n) for i in range(0, n, 2)]
    for support in [*((i,) for i in range(n)), *pairs]:
        k = np.zeros(n, int)
        k[list(support)] = rng.integers(1, q, len(support))
        frequencies.append(k)
        coefficients.append(rng.normal())
    space = ss.SequenceSpace(ALPHABETS[q], n)
    codes = rng.integers(0, q, (count, n)).astype(np.uint8)
    return ss.Explainer(ss.Spectrum(space, frequencies, coefficients, real_part=True)), codes


def constant(n=6):
    return ss.Explainer(ss.Spectrum(ss.SequenceSpace(ss.DNA, n), [[0] * n], [1.0]))


def ticks(axis):
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def check_readable(ax):
    """Check that all text lies within the figure, and that no labels of an axis overlap."""
    figure = ax.get_figure()
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    hidden = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
    }
    hidden -= {
        id(label) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in ticks(axis)
    }
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible() and id(text) not in hidden and text.axes is not None:
            box = text.get_window_extent(renderer)
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
            assert inside, (text.get_text(), box, figure.bbox)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label for label in ticks(axis) if label.get_text() and label.get_visible()]
            boxes = [label.get_window_extent(renderer) for label in labels]
            boxes.sort(key=lambda box: (box.x0, box.y0) if axis is axes.xaxis else (box.y0, box.x0))
            for one, two in itertools.pairwise(boxes):
                assert not one.overlaps(two), [label.get_text() for label in labels]
    assert ax.get_title(loc="left")


def image_of(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


@shapes
def test_a_logo_has_a_letter_for_each_value(q, n):
    explainer, codes = explained(q, n)
    ax = plot.logo(explainer(codes)[3])
    values = explainer(codes[3:4]).values[0]
    drawn = [
        (p, p.get_path().get_extents().transformed(p.get_transform() - ax.transData)) for p in ax.patches
    ]
    boxes = {round((box.x0 + box.x1) / 2): box for p, box in drawn if box.width > 0 and box.height > 1e-9}
    large = np.flatnonzero(np.abs(values) > 1e-6)
    assert set(large) <= set(boxes)
    for position in large:
        box = boxes[position]
        assert sorted([box.y0, box.y1]) == pytest.approx(sorted([0.0, values[position]]), abs=1e-6)
    assert "of the closed form" in ax.get_title(loc="left")
    check_readable(ax)


def test_a_logo_of_a_map_stacks_its_means():
    explainer, codes = explained(4, 10)
    result = explainer.attribution_map(codes)
    ax = plot.logo(result)
    positive = np.where(result.counts > 0, result.mean, 0.0).clip(0.0).sum(axis=1)
    assert ax.get_ylim()[1] == pytest.approx(positive.max())
    check_readable(ax)


def test_a_logo_of_zeros_has_no_letters():
    ax = plot.logo(constant()(["ACGTAC"]))
    assert not ax.patches
    check_readable(ax)


@pytest.mark.parametrize("alphabet", [" A", "aA", "αβ", "+-", "$_", "^\\"])
def test_symbols_are_written_as_they_are(alphabet):
    space = ss.SequenceSpace(alphabet, 3)
    explainer = ss.Explainer(ss.Spectrum(space, [[0, 0, 0], [1, 0, 0], [1, 1, 0]], [0.0, 1.0, 0.5]))
    sequence = alphabet[0] * 2 + alphabet[1]
    explanation, names = explainer([sequence]), [symbol.replace(" ", "␣") for symbol in alphabet]
    check_readable(plot.logo(explanation))
    ax = plot.mutation_map(explainer, sequence)
    check_readable(ax)
    assert [label.get_text().lstrip("\\") or "\\" for label in ax.get_yticklabels()] == names
    pairs = explainer.interactions([sequence], index="FSII")
    for ax in (plot.waterfall(pairs, sequence=sequence), plot.arcs(pairs, sequence=sequence)):
        check_readable(ax)
        labels = [*ax.get_yticklabels(), *ax.texts]
        assert not any(label._preprocess_math(label.get_text())[1] for label in labels)
    ax = plot.beeswarm(explainer(["".join(row) for row in itertools.product(alphabet, repeat=3)]))
    check_readable(ax)
    assert [text.get_text().strip(" ").lstrip("\\") or "\\" for text in ax.get_legend().get_texts()] == names


@batches
def test_a_map_shows_the_mean_of_each_symbol(q, n, count):
    explainer, codes = explained(q, n, count)
    ax = plot.position_letter_map(explainer(codes), explainer._space)
    np.testing.assert_array_equal(image_of(ax), explainer.attribution_map(codes).mean.T)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(ALPHABETS[q])
    check_readable(ax)


@shapes
def test_a_mutation_map_shows_effects_and_marks_the_sequence(q, n):
    explainer, codes = explained(q, n)
    sequence = explainer._space.decode(codes[:1])[0]
    ax = plot.mutation_map(explainer, sequence)
    np.testing.assert_array_equal(image_of(ax), explainer.mutation_effects([sequence])[0].T)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), np.stack([np.arange(n), codes[0]], axis=1))
    assert "predicted by the closed form" in ax.get_title(loc="left")
    check_readable(ax)


@batches
def test_a_map_of_pairs_shows_interactions(q, n, count):
    explainer, codes = explained(q, n, count)
    pairs = explainer.interactions(codes, index="FSII")
    matrix = image_of(plot.pair_map(pairs, n))
    expected = np.full((n, n), np.nan)
    for i, j in itertools.combinations(range(n), 2):
        expected[i, j] = 0.0
    for (i, j), column in zip(pairs.order(2).supports, pairs.order(2).values.T, strict=True):
        expected[i, j] = column[0] if count == 1 else np.abs(column).mean()
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    check_readable(plt.gca().figure.axes[0])


@batches
def test_arcs_join_the_strongest_pairs(q, n, count):
    explainer, codes = explained(q, n, count)
    pairs = explainer.interactions(codes, index="FSII").order(2)
    text = explainer._space.decode(codes[:1])[0]
    ax = plot.arcs(pairs, 4, sequence=text)
    drawn = [p for p in ax.patches if isinstance(p, patches.Arc)]
    ends = [(round(p.center[0] - p.width / 2), round(p.center[0] + p.width / 2)) for p in drawn]
    # The strongest is drawn last, and with the widest line.
    assert ends[::-1] == [support for support, _ in pairs.top(4)]
    widths = [p.get_linewidth() for p in drawn]
    assert widths == sorted(widths)
    assert "".join(annotation.get_text() for annotation in ax.texts) == text
    check_readable(ax)


@batches
def test_a_network_has_the_strongest_pairs_and_their_positions(q, n, count):
    explainer, codes = explained(q, n, count)
    pairs = explainer.interactions(codes, index="FSII")
    ax = plot.network(pairs)
    top = [support for support, value in pairs.order(2).top(20) if value]
    assert len([p for p in ax.patches if isinstance(p, patches.PathPatch)]) == len(top)
    positions = sorted({position for support in top for position in support})
    assert [text.get_text() for text in ax.texts] == [str(position) for position in positions]
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    check_readable(ax)


def test_plots_of_no_interaction_are_empty():
    pairs = constant().interactions(["ACGTAC"], index="SII", max_order=2)
    for draw in (plot.arcs, plot.network):
        ax = draw(pairs)
        assert not ax.patches
        assert "no pair interacts" in " ".join(ax.get_title(loc="left").split())
        check_readable(ax)


@batches
def test_a_beeswarm_has_a_point_for_each_sequence_in_the_style_of_its_symbol(q, n, count):
    explainer, codes = explained(q, n, count)
    explanation = explainer(codes)
    ax = plot.beeswarm(explanation)
    rows = np.argsort(-np.abs(explanation.values).mean(axis=0), kind="stable")[:15]
    assert [label.get_text() for label in ax.get_yticklabels()] == [str(position) for position in rows]
    points = {}
    for collection in ax.collections:
        symbol = collection.get_label()
        assert colors.to_hex(collection.get_facecolor()[0]).upper() == styles(ALPHABETS[q])[symbol][0].upper()
        for x, y in collection.get_offsets():
            points.setdefault(round(float(y)), []).append((round(float(x), 9), symbol))
    for row, position in enumerate(rows):
        letters = [ALPHABETS[q][code] for code in codes[:, position]]
        values = [round(float(value), 9) for value in explanation.values[:, position]]
        assert sorted(points[row]) == sorted(zip(values, letters, strict=True))
    check_readable(ax)


def test_points_of_a_beeswarm_with_equal_values_lie_apart():
    explainer, _ = explained(2, 10)
    ax = plot.beeswarm(explainer(np.zeros((9, 10), dtype=np.uint8)), count=1)
    heights = ax.collections[0].get_offsets()[:, 1]
    assert len(np.unique(heights.round(6))) == 9
    assert np.abs(heights).max() < 0.5


@pytest.mark.parametrize(
    ("q", "n", "index"),
    [(2, 10, "SV"), (4, 50, "SV"), (20, 200, "SV"), (2, 10, "k-SII"), (4, 50, "Moebius"), (20, 200, "FSII")],
)
def test_a_waterfall_adds_up_to_the_score(q, n, index):
    explainer, codes = explained(q, n, 1)
    if index == "SV":
        result, sequence = explainer(codes), None
    else:
        result = explainer.interactions(codes, index=index)
        sequence = explainer._space.decode(codes)[0]
    ax = plot.waterfall(result, 8, sequence=sequence)
    bars = [(p.get_x(), p.get_width()) for p in ax.patches]
    assert bars[-1][0] == pytest.approx(result.base_values[0])
    assert bars[0][0] + bars[0][1] == pytest.approx(explainer._sketch.predict(codes)[0])
    for (start, _), (below, width) in itertools.pairwise(bars):
        assert start == pytest.approx(below + width)
    names = [label.get_text() for label in ax.get_yticklabels()]
    largest = int(np.abs(result.values[0]).argmax())
    support = (largest,) if index == "SV" else result.supports[largest]
    # A digit and a position would be read as one number.
    at = "\xa0at\xa0" if q == 2 else ""
    assert names[0] == " · ".join(f"{ALPHABETS[q][codes[0, i]]}{at}{i}" for i in support)
    assert len(names) <= 9
    check_readable(ax)


def test_a_waterfall_of_a_constant_has_no_bars():
    ax = plot.waterfall(constant()(["ACGTAC"]))
    assert not ax.patches
    check_readable(ax)


def test_the_energy_of_orders_is_that_of_the_sobol_indices():
    explainer, _ = explained()
    ax = plot.order_energy(explainer.sobol())
    fractions = explainer.sobol().by_order
    np.testing.assert_allclose([p.get_height() for p in ax.patches], fractions[1:])
    check_readable(ax)
    check_readable(plot.order_energy(constant().sobol()))


@pytest.mark.parametrize("n", [10, 50, 200])
def test_a_spacing_curve_is_drawn_against_distances(n):
    patterns = [(start, "CA...TG", 2.0) for start in range(n - 7)]
    explainer = ss.Explainer(sketch_of_patterns(ss.SequenceSpace(ss.DNA, n), patterns))
    curve = explainer.spacing("CA", "TG")
    ax = plot.spacing(curve)
    (line,) = [line for line in ax.lines if len(line.get_xdata()) == len(curve)]
    np.testing.assert_array_equal(line.get_xdata(), curve.distances)
    np.testing.assert_array_equal(line.get_ydata(), curve.effects)
    assert ax.get_xlabel() == "symbols between CA and TG"
    assert ax.get_ylabel() == "joint effect, model units"
    check_readable(ax)
    long = explainer.spacing("A" * (n - 1), "C")
    check_readable(plot.spacing(long))


def count_of_g(sequences):
    return [float(sequence.count("G")) for sequence in sequences]


@pytest.fixture(scope="module")
def sketches():
    space = ss.SequenceSpace(ss.DNA, 6)
    options = {"method": "regress", "progress": False}
    return [ss.sketch(count_of_g, space, budget=budget, **options) for budget in (100, 200, 900)]


def test_predictions_of_held_out_queries(sketches):
    ax = plot.predicted_against_true(sketches[0])
    held = sketches[0]._core.held_out
    points = np.stack([held.values, held.predictions], axis=1)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), points)
    assert f"held-out queries: R² {sketches[0].r2:.4f}" in ax.get_title(loc="left")
    check_readable(ax)


def test_predictions_of_sequences_on_the_scale_of_the_sketch():
    space = ss.SequenceSpace(ss.DNA, 4)
    model = lambda sequences: np.exp(count_of_g(sequences))  # noqa: E731
    sketch = ss.sketch(model, space, budget=256, link="log", progress=False)
    sequences = ["GGGG", "ACGT", "GGAA"]
    ax = plot.predicted_against_true(sketch, sequences, model(sequences))
    points = np.stack([[4.0, 1.0, 2.0], sketch.predict(sequences)], axis=1)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), points)
    assert ax.get_xlabel() == "model, log of model units"
    check_readable(ax)


def test_a_budget_curve_has_a_point_for_each_sketch(sketches):
    ax = plot.budget_curve(sketches[::-1])
    line = ax.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [sketch.n_queries for sketch in sketches])
    np.testing.assert_array_equal(line.get_ydata(), [sketch.r2 for sketch in sketches])
    check_readable(ax)


def test_a_budget_curve_draws_predictors_beside_closed_forms(sketches):
    values = np.arange(40.0)
    r2 = ss._core.RSquared(values, values + np.sin(values))
    parts = [("regress", 1.0, 1.0, sketches[0]._core)]
    predictor = ss._core.Predictor(sketches[0].space._core, constant=0.0, parts=parts, r2=r2)
    better = ss.Sketch._wrap(sketches[0]._core.with_predictor(predictor))
    ax = plot.budget_curve([better, sketches[1]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["closed form", "predictor"]
    lines = [container.lines[0] for container in ax.containers]
    assert [list(line.get_ydata()) for line in lines] == [[sketches[0].r2, sketches[1].r2], [r2.value]]
    low, high = ax.containers[1].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((r2.low, r2.high))
    check_readable(ax)


def test_a_copy_of_a_sketch_has_no_held_out_queries(sketches):
    copy = pickle.loads(pickle.dumps(sketches[0]))
    with pytest.raises(ss.InputError, match=r"loaded, copied, converted.*pass sequences= and values="):
        plot.predicted_against_true(copy)


def scan(tmp_path, wild_type="MKVLMKVLMK", start=5):
    path = tmp_path / "scan.csv"
    rows, value = ["mutant,score", "WT,0"], itertools.count()
    singles = [(i, a) for i in range(len(wild_type)) for a in "AG"]
    rows += [f"{wild_type[i]}{i + start}{a},{next(value) % 7}" for i, a in singles]
    for (i, a), (j, b) in itertools.combinations(singles, 2):
        if i != j and (i + j) % 3:
            rows.append(f"{wild_type[i]}{i + start}{a}:{wild_type[j]}{j + start}{b},{next(value) % 5}")
    path.write_text("\n".join(rows))
    variants = ss.read_variants(path, wild_type=wild_type, start=start)
    explainer, _ = explained(20, len(wild_type))
    return ss.VariantEffects(explainer._sketch, variants)


def test_a_map_of_epistasis_has_predictions_above_and_measurements_below(tmp_path):
    effects = scan(tmp_path)
    ax = plot.epistasis_map(effects)
    matrix = image_of(ax)
    cells = {}
    for row in effects.epistasis().records():
        i, j = (int(name[1:-1]) - 5 for name in row["mutations"].split(":"))
        cells.setdefault((i, j), []).append(row["epistasis"])
        cells.setdefault((j, i), []).append(row["measured_epistasis"])
    for cell in itertools.product(range(10), repeat=2):
        expected = np.mean(cells[cell]) if cell in cells else np.nan
        np.testing.assert_allclose(matrix[cell], expected, atol=1e-12)
    assert ax.get_xlim() == (4.5, 14.5)
    check_readable(ax)


def test_a_mutation_map_of_a_scan_has_its_numbers(tmp_path):
    effects = scan(tmp_path)
    ax = plot.mutation_map(effects)
    table = effects.singles()
    codes = [ss.PROTEIN.index(letter) for letter in table["letter"]]
    np.testing.assert_allclose(image_of(ax)[codes, table["position"] - 5], table["effect"], atol=1e-12)
    check_readable(ax)
    assert [label.get_text() for label in ticks(ax.xaxis)] == [str(i) for i in range(5, 15)]


def test_titles_cut_long_references():
    explainer, codes = explained(20, 200)
    reference = explainer._space.decode(codes[:1])[0]
    ax = plot.beeswarm(ss.Explainer(explainer._sketch, background=reference)(codes))
    assert f"background reference {reference[:20]}... link identity" in " ".join(
        ax.get_title(loc="left").split()
    )
    check_readable(ax)


DRAWN_ON_AXES = {
    "logo": lambda e, codes, ax: plot.logo(e(codes)[0], ax),
    "position_letter_map": lambda e, codes, ax: plot.position_letter_map(e(codes), e._space, ax),
    "mutation_map": lambda e, codes, ax: plot.mutation_map(e, codes[0], ax),
    "pair_map": lambda e, codes, ax: plot.pair_map(fsii(e, codes), codes.shape[1], ax),
    "arcs": lambda e, codes, ax: plot.arcs(fsii(e, codes), sequence=e._space.decode(codes)[0], ax=ax),
    "network": lambda e, codes, ax: plot.network(fsii(e, codes[:1]), ax=ax),
    "beeswarm": lambda e, codes, ax: plot.beeswarm(e(codes), ax=ax),
    "waterfall": lambda e, codes, ax: plot.waterfall(fsii(e, codes)[0], ax=ax),
    "order_energy": lambda e, codes, ax: plot.order_energy(e.sobol(), ax),
}


def fsii(explainer, codes):
    return explainer.interactions(codes, index="FSII", max_order=2)


@pytest.mark.parametrize("name", DRAWN_ON_AXES)
@pytest.mark.parametrize(("q", "n"), [SHAPES[0], SHAPES[-1]])
def test_plots_fit_into_small_axes_of_the_user(name, q, n):
    explainer, codes = explained(q, n)
    figure, axes = plt.subplots(2, 2, figsize=(8, 6), layout="constrained")
    ax = axes[1, 0]
    assert DRAWN_ON_AXES[name](explainer, codes, ax) is ax
    assert plt.get_fignums() == [figure.number]
    check_readable(ax)
    renderer, box = figure.canvas.get_renderer(), ax.get_window_extent()
    texts = [text.get_window_extent(renderer) for text in ax.texts]
    # Numbers and positions lie apart, and within the axes.
    assert not any(one.overlaps(two) for one, two in itertools.pairwise(texts))
    assert all(box.x0 - 1 <= text.x0 and text.x1 <= box.x1 + 1 for text in texts)
    assert all(box.y0 - 1 <= text.y0 and text.y1 <= box.y1 + 1 for text in texts)
    # A legend leaves half of the space to the plot.
    assert box.width > 0.25 * figure.bbox.width
    assert box.height > 0.2 * figure.bbox.height


@pytest.mark.parametrize("diverging", [True, False])
def test_colours_of_lines_are_seen_on_white(diverging):
    seen = line_colours(diverging=diverging)(np.linspace(0.0, 1.0, 101))[:, :3]
    assert np.linalg.norm(1.0 - seen, axis=1).min() > 0.2


def test_symbols_differ_in_colour_or_marker():
    alphabet = "".join(chr(0x4E00 + i) for i in range(64))
    assert len(set(styles(alphabet).values())) == 64


# Simulated dichromacy, in linear RGB (Machado et al. 2009, severity 1): protanopia, deuteranopia, tritanopia.
DICHROMATS = np.array(
    [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)


@pytest.mark.parametrize("kind", range(3))
def test_colours_of_four_symbols_differ_for_colour_blind_people(kind):
    seen = np.array([colors.to_rgb(colour) for colour in PALETTE[:4]])
    linear = np.where(seen <= 0.04045, seen / 12.92, ((seen + 0.055) / 1.055) ** 2.4)
    seen = (linear @ DICHROMATS[kind].T).clip(0.0, 1.0) ** (1.0 / 2.4)
    distances = [np.linalg.norm(one - two) for one, two in itertools.combinations(seen, 2)]
    # White and black have the distance 1.73.
    assert min(distances) > 0.2


def wrong_inputs():
    explainer, codes = explained(4, 10)
    explanation, pairs = explainer(codes), explainer.interactions(codes, index="FSII")
    singles = explainer.interactions(codes, index="SII", max_order=1)
    space = explainer._space
    shuffled = ss.Explainer(explainer._sketch, ss.DinucleotideShuffles(3))
    return [
        (lambda: plot.logo(explanation), "a logo is of one sequence, and this explanation has 12"),
        (lambda: plot.logo(pairs), "attributions must be an Explanation or an AttributionMap"),
        (lambda: plot.position_letter_map(explanation[:0], space), "there are no sequences to draw"),
        (lambda: plot.beeswarm(explanation[:0]), "there are no sequences to draw"),
        (lambda: plot.beeswarm(explanation, 0), "count must be at least 1"),
        (lambda: plot.mutation_map(explainer), "pass the sequence whose substitutions"),
        (lambda: plot.mutation_map(explanation, "A"), "source must be an Explainer or VariantEffects"),
        (lambda: plot.pair_map(pairs[:0], 10), "there are no sequences to draw"),
        (lambda: plot.arcs(singles), "have no pairs.*max_order=2"),
        (lambda: plot.network(pairs.order(1)), "have no pairs.*max_order=2"),
        (lambda: plot.arcs(pairs, sequence="ACGT"), "sequence must have 10 symbols"),
        (lambda: plot.waterfall(explanation), "one sequence, and these are 12; pass result"),
        (lambda: plot.waterfall(pairs.order(2)[0]), "FSII of orders 2 to 2 do not add up"),
        (lambda: plot.waterfall(singles[0]), "SII of orders 1 to 1 do not add up"),
        (lambda: plot.waterfall(singles.order(2)[0]), "orders that were not computed"),
        (
            lambda: plot.waterfall(explainer.interactions(codes, index="Moebius", max_order=2)[0]),
            "Moebius of orders 1 to 2 do not add up",
        ),
        (lambda: plot.waterfall(explanation[0], sequence="ACGTACGTAC"), "an explanation has its symbols"),
        (lambda: plot.order_energy(shuffled.sobol()), "Sobol indices"),
        (lambda: plot.predicted_against_true(explainer._sketch), "no held-out queries.*pass sequences="),
        (lambda: plot.predicted_against_true(explainer._sketch, codes), "pass both sequences and values"),
        (
            lambda: plot.predicted_against_true(explainer._sketch, codes, [1.0]),
            r"values must have shape \(12,\)",
        ),
        (
            lambda: plot.predicted_against_true(explainer._sketch, codes, [0.0] * 11 + [np.nan]),
            "nan at index 11 is not finite",
        ),
        (lambda: plot.budget_curve([]), "the list is empty"),
        (lambda: plot.budget_curve([explainer._sketch]), "sketch 0 has no R²"),
        (lambda: plot.budget_curve(["sketch"]), "sketch 0 must be a Sketch"),
        (lambda: plot.epistasis_map(explainer), "scan must be VariantEffects or a VariantTable"),
    ]


@pytest.mark.parametrize("case", range(len(wrong_inputs())))
def test_wrong_inputs_are_refused_before_a_figure_is_made(case):
    call, text = wrong_inputs()[case]
    with pytest.raises(ss.InputError, match=text):
        call()
    assert not plt.get_fignums()


def test_scans_without_pairs_are_refused(tmp_path):
    effects = scan(tmp_path)
    with pytest.raises(ss.InputError, match="the table has no epistasis"):
        plot.epistasis_map(effects.singles())
    with pytest.raises(ss.InputError, match="the table has no pairs"):
        plot.epistasis_map(effects.epistasis().rows([]))
    with pytest.raises(ss.InputError, match="leave out sequence for a scan"):
        plot.mutation_map(effects, "MKVL")


@pytest.mark.parametrize("library", ["matplotlib", "logomaker"])
def test_the_error_names_the_missing_extra(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    explainer, codes = explained(count=1)
    with pytest.raises(ss.MissingExtraError, match=rf"{library}, .*pip install 'shapsketch\[plot\]'"):
        plot.logo(explainer(codes))
