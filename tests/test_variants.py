"""Deep mutational scans: notations and tables of variants, what is refused, results in the notation."""

import itertools
import pickle
from dataclasses import replace
from math import comb
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapsketch as ss
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapsketch.explain import mutants, variant_errors

WT = "MKVLAG"
THREE = {
    **{
        "A": "Ala",
        "R": "Arg",
        "N": "Asn",
        "D": "Asp",
        "C": "Cys",
        "Q": "Gln",
        "E": "Glu",
        "G": "Gly",
        "H": "His",
    },
    **{
        "I": "Ile",
        "L": "Leu",
        "K": "Lys",
        "M": "Met",
        "F": "Phe",
        "P": "Pro",
        "S": "Ser",
        "T": "Thr",
        "W": "Trp",
    },
    **{"Y": "Tyr", "V": "Val"},
}


def table(path, *rows, header="mutant,score"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def read(path, *rows, header="mutant,score", wild_type=WT, **options):
    return ss.read_variants(table(path, *rows, header=header), wild_type=wild_type, **options)


def plain(separator):
    return lambda parts, n: separator.join(f"{a}{i}{b}" for a, i, b in parts) or "WT"


def hgvs(parts, n):
    texts = [f"{THREE[a]}{i}{THREE[b]}" for a, i, b in parts]
    if not parts:
        return "p.="
    return f"p.{texts[0]}" if len(texts) == 1 else f"p.[{';'.join(texts)}]"


NOTATIONS = {
    **{f"joined by {s!r}": plain(s) for s in (":", ",", ";", "/", "_", " ", ", ")},
    "three letters": lambda parts, n: ":".join(f"{THREE[a]}{i}{THREE[b]}" for a, i, b in parts) or "wt",
    "lower case": lambda parts, n: ":".join(f"{a}{i}{b}".lower() for a, i, b in parts) or "_wt",
    "hgvs": hgvs,
    "predicted hgvs": lambda parts, n: f"p.({hgvs(parts, n)[2:]})",
    "hgvs of a reference": lambda parts, n: f"NP_000001.1:{hgvs(parts, n)}",
}


@pytest.mark.parametrize("notation", NOTATIONS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_variants_in_each_notation_are_read_back(tmp_path, notation, data):
    symbols = st.sampled_from(ss.PROTEIN)
    wild_type = data.draw(st.text(symbols, min_size=1, max_size=12))
    start = data.draw(st.integers(1, 900))
    rows = data.draw(
        st.lists(st.dictionaries(st.integers(0, len(wild_type) - 1), symbols), min_size=1, max_size=9)
    )
    parts = [[(wild_type[i], i + start, b) for i, b in row.items() if b != wild_type[i]] for row in rows]
    texts = [NOTATIONS[notation](part, len(wild_type)) for part in parts]
    variants = read(
        tmp_path / "scan.tsv",
        *(f"{text}\t{k}" for k, text in enumerate(texts)),
        header="mutant\tscore",
        wild_type=wild_type,
        start=start,
        alphabet=ss.PROTEIN,
    )
    expected = ["".join(row.get(i, a) for i, a in enumerate(wild_type)) for row in rows]
    assert variants.space.decode(variants.codes) == expected
    assert variants.names == texts
    assert variants.values.tolist() == list(range(len(rows)))
    # Names in the one notation are read back, too.
    np.testing.assert_array_equal(variants.encode(variants.name(variants.codes)), variants.codes)
    assert variants.n_mutations.tolist() == [len(part) for part in parts]


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("c.3G>A", "ACAT"),
        ("n.[1A>C;4T>G]", "CCGG"),
        ("c.1_3delinsTTA", "TTAT"),
        ("c.2delinsG", "AGGT"),
        ("c.2C=", "ACGT"),
        ("c.1_4=", "ACGT"),
        ("c.=", "ACGT"),
        ("r.3g>a", "ACAT"),
        ("A1C:T4G", "CCGG"),
        ("A1A", "ACGT"),
    ],
)
def test_variants_of_nucleotides(tmp_path, text, sequence):
    variants = read(tmp_path / "scan.csv", f"{text},1", header="hgvs_nt,score", wild_type="ACGT")
    assert variants.space == ss.SequenceSpace(ss.DNA, 4)
    assert variants.space.decode(variants.codes) == [sequence]


OTHERS = {
    "M1*": "stop codon",
    "p.Met1Ter": "stop codon",
    "M1Stop": "stop codon",
    "K2X": "X, a stop codon or an unknown symbol",
    "p.Lys2Xaa": "unknown symbol",
    "p.Met1?": "unknown symbol",
    "K2-": "deletion",
    "p.Lys2del": "deletion",
    "p.Lys2_Val3del": "deletion",
    "K2del": "deletion",
    "p.Lys2_Val3insGly": "insertion",
    "p.Lys2delinsGlyGly": "insertion or deletion",
    "p.Lys2fs*5": "frameshift",
    "p.Lys2dup": "duplication",
    "p.Lys2Sec": "the symbol 'U', which is not in the alphabet",
    "K2B:V3A": "the symbol 'B', which is not in the alphabet",
    "NA": "no variant",
}


def test_what_is_not_a_substitution_is_counted_and_named(tmp_path, caplog):
    rows = [f"{text},1" for text in OTHERS] + [",1", "K2A,", "K2C,NA", "K2A,0.5"]
    variants = read(tmp_path / "scan.csv", *rows)
    assert variants.name(variants.codes) == ["K2A"]
    expected = {reason: list(OTHERS.values()).count(reason) for reason in OTHERS.values()}
    expected["no variant"] += 1
    expected["no value of 'score'"] = 2
    assert {reason: part.count for reason, part in variants.skipped.items()} == expected
    assert variants.skipped["stop codon"].rows == ["line 2: 'M1*'", "line 3: 'p.Met1Ter'", "line 4: 'M1Stop'"]
    assert "skipped rows, frameshift: 1 (line 14: 'p.Lys2fs*5')" in caplog.text
    assert "skipped    deletion: 4 (line 8: 'K2-', line 9: 'p.Lys2del'" in variants.summary()
    assert repr(variants) == "Variants(1 values, wild type of length 6, 20 rows skipped)"
    for text, reason in OTHERS.items():
        with pytest.raises(ss.InputError, match=r"scan.csv, line 3: .* cannot be used: ") as raised:
            read(tmp_path / "scan.csv", "WT,1", f"{text},1", on_other="error")
        assert raised.value.message.endswith(reason)
        with pytest.raises(ss.InputError, match=r"variant 1, "):
            variants.encode(["K2A", text])


def test_stop_codons_and_gaps_can_be_symbols(tmp_path):
    rows = ["M1*,0", "p.Lys2Ter,0", "V3-,0"]
    variants = read(tmp_path / "scan.csv", *rows, alphabet=ss.PROTEIN + "*-")
    assert variants.space.decode(variants.codes) == ["*KVLAG", "M*VLAG", "MK-LAG"]
    assert not variants.skipped


def test_nucleotides_outside_of_the_coding_sequence_are_counted(tmp_path):
    rows = ["c.-5A>G,1", "c.2+1G>A,1", "c.*3A>G,1", "c.2_3del,1", "c.2C>N,1", "c.2_3delinsA,1", "c.2C>T,1"]
    variants = read(tmp_path / "scan.csv", *rows, header="hgvs_nt,score", wild_type="ACGT")
    assert {reason: part.count for reason, part in variants.skipped.items()} == {
        "a position outside of the coding sequence": 3,
        "deletion": 1,
        "unknown symbol": 1,
        "insertion or deletion": 1,
    }


REFUSED = {
    "A23": r"line 3: 'A23' is not a variant; write A23G, A23G:T45S, p.Ala23Gly or WT",
    "23G": r"line 3: '23G' is not a variant",
    "AG": r"line 3: 'AG' is not a variant",
    "K2A:": r"line 3: an empty part in 'K2A:' is not a variant",
    "K2A::V3A": r"line 3: an empty part in 'K2A::V3A' is not a variant",
    "p.Foo2Ala": r"line 3: 'Foo' in 'p.Foo2Ala' is not a variant",
    "nonsense": r"line 3: 'nonsense' is not a variant",
    "K2A:K2C": r"line 3: 'K2A:K2C' has two symbols at position 2, A and C; correct it",
    "p.[Lys2Ala;Lys2=]": r"has two symbols at position 2, A and =; correct it",
    "V2A": r"line 3: 'V2A' has the wild-type symbol V at position 2, but wild_type has K there; check",
    "K2A:G5A": r"line 3: 'K2A:G5A' has the wild-type symbol G at position 5, but wild_type has A there",
    "p.Gly2=": r"line 3: 'p.Gly2=' has the wild-type symbol G at position 2",
    "K7A": r"line 3: 'K7A' changes position 7, but those of wild_type are 1 to 6; check wild_type",
    "M0A": r"line 3: 'M0A' changes position 0, but those of wild_type are 1 to 6",
    "c.2A>G": r"line 3: 'c.2A>G' describes nucleotides, but the alphabet .* is one of a protein; pass",
}


@pytest.mark.parametrize("text", REFUSED)
def test_contradictory_and_wrong_variants_are_refused_with_their_line(tmp_path, text):
    with pytest.raises(
        ss.InputError, match=rf"scan.csv, {REFUSED[text]}" if "line" in REFUSED[text] else REFUSED[text]
    ):
        read(tmp_path / "scan.csv", "K2A,1", f'"{text}",1')


def test_a_wrong_numbering_is_recognised(tmp_path):
    rows = [f"{a}{i}{b},1" for i, a in enumerate(WT, 24) for b in "CDE"]
    with pytest.raises(
        ss.InputError, match=r"line 2: 'M24C' changes position 24.*; start=24 fits 100% of"
    ) as raised:
        read(tmp_path / "scan.csv", *rows)
    assert raised.value.option == "start"
    with pytest.raises(
        ss.InputError, match=r"'M24C' has the wild-type.*position 24, but .* has K there; start=24"
    ):
        read(tmp_path / "scan.csv", *rows, start=23)
    assert len(read(tmp_path / "scan.csv", *rows, start=24)) == 18


def test_a_protein_that_could_be_dna_needs_its_alphabet(tmp_path):
    with pytest.raises(
        ss.InputError, match=r"line 2: 'A1V' has the symbol 'V', which is not in.*pass alphabet=ss.PRO"
    ):
        read(tmp_path / "scan.csv", "A1V,1", wild_type="ACGT")
    with pytest.raises(
        ss.InputError, match=r"'p.Ala1Gly' describes a protein, but .* pass another column=, or the"
    ):
        read(tmp_path / "scan.csv", "p.Ala1Gly,1", wild_type="ACGT")
    assert len(read(tmp_path / "scan.csv", "A1V,1", wild_type="ACGT", alphabet=ss.PROTEIN)) == 1


def test_tables_of_mavedb_and_proteingym(tmp_path):
    rows = ["urn:1#1,NA,NA,p.Lys2Ala,0.5,0.1", "urn:1#2,NA,NA,_wt,1,0.1", "urn:1#3,NA,NA,_sy,1.1,0.2"]
    path = tmp_path / "mavedb.csv"
    header = "# Accession: urn:mavedb:1\n# Licence: CC0\naccession,hgvs_nt,hgvs_splice,hgvs_pro,score,sd"
    variants = read(path, *rows, header=header, sd="sd")
    assert variants.name(variants.codes) == ["K2A", "WT", "WT"]
    np.testing.assert_allclose(variants.weights, [100.0, 100.0, 25.0])
    rows = ["K2A:V3A,MAALAG,0.5,1", "K2R,MRVLAG,-2,0"]
    header = "mutant,mutated_sequence,DMS_score,DMS_score_bin"
    variants = read(tmp_path / "gym.csv", *rows, header=header)
    assert (variants.names, variants.values.tolist()) == (["K2A:V3A", "K2R"], [0.5, -2.0])
    again = read(tmp_path / "gym.csv", *rows, header=header, column="mutated_sequence")
    np.testing.assert_array_equal(again.codes, variants.codes)
    pq.write_table(
        pa.table({"mutant": ["K2A", None, "M1*"], "score": [1.5, 2.0, 3.0], "n": [1, 2, 3]}),
        tmp_path / "scan.parquet",
    )
    variants = ss.read_variants(tmp_path / "scan.parquet", wild_type=WT)
    assert variants.values.tolist() == [1.5]
    assert variants.skipped["stop codon"].rows == ["row 2: 'M1*'"]


def test_whole_sequences_are_variants(tmp_path):
    rows = [f"{WT},1", "mkvlac,2", "MKVLA*,3", "MKVLA,4"]
    variants = read(tmp_path / "scan.csv", *rows, header="name,score", column="name")
    assert variants.name(variants.codes) == ["WT", "G6C"]
    assert sorted(variants.skipped) == ["a sequence of another length than the wild type", "stop codon"]
    with pytest.raises(ss.InputError, match="none of the 1 rows has a variant: a sequence of another length"):
        read(tmp_path / "scan.csv", "MK,1", header="sequence,score")


def test_replicates_and_weights(tmp_path):
    rows = ["K2A,1,3,0.5,0.25", "V3A,NA,5,0.5,0.5", "WT,7,8,1,2"]
    header = "mutant,rep1,rep2,sd1,sd2"
    variants = read(tmp_path / "scan.csv", *rows, header=header, score=["rep1", "rep2"], sd=["sd1", "sd2"])
    assert variants.names == ["K2A", "K2A", "V3A", "WT", "WT"]
    assert variants.values.tolist() == [1.0, 3.0, 5.0, 7.0, 8.0]
    assert variants.sd.tolist() == [0.5, 0.25, 0.5, 1.0, 2.0]
    np.testing.assert_allclose(variants.weights, [4.0, 16.0, 4.0, 1.0, 0.25])
    assert variants.skipped["no value of 'rep1'"].rows == ["line 3: 'V3A'"]
    variants = read(tmp_path / "scan.csv", *rows, header=header, score=["rep1", "rep2"], weight="sd2")
    assert variants.weights.tolist() == [0.25, 0.25, 0.5, 2.0, 2.0]
    assert variants.sd is None
    for wrong, got in (("0", "0"), ("", "missing"), ("-1", "-1")):
        with pytest.raises(
            ss.InputError, match=rf"line 3: 'sd' of 'V3A' is {got}, but it must be above 0 \(1 such"
        ):
            read(tmp_path / "scan.csv", "K2A,1,1", f"V3A,1,{wrong}", header="mutant,score,sd", sd="sd")
    variants = read(tmp_path / "scan.csv", "K2A,1,1e-200", "V3A,1,1", header="mutant,score,sd", sd="sd")
    with pytest.raises(ss.InputError, match="sample_weight: value inf at index 0"):
        ss.fit(variants)
    # A value that is not used needs no standard deviation.
    assert len(read(tmp_path / "scan.csv", "K2A,1,1", "V3A,,", header="mutant,score,sd", sd="sd")) == 1


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        (
            "mutant,variant,score",
            {},
            r"the columns 'mutant', 'variant' may all have the variants; .* column=",
        ),
        (
            "mutant,score,fitness",
            {},
            r"the columns 'score', 'fitness' may all have the values; choose one with score=",
        ),
        (
            "a,b,score",
            {},
            r"no column has a known name of the variants; the columns are 'a', 'b', 'score'; choose",
        ),
        (
            "mutant,a,b",
            {},
            r"no column has a known name of the values; the columns are 'mutant', 'a', 'b'; choose",
        ),
        (
            "mutant,score,a",
            {"sd": "sd"},
            r"the column 'sd' is missing; the columns are .*; choose one with sd=",
        ),
        ("mutant,score,score", {}, r"the columns 'score', 'score' may all have"),
        ("mutant,a,a", {"score": "a"}, r"the column 'a' occurs twice, the columns are 'mutant', 'a', 'a'"),
        ("mutant,a,b", {"score": ["a", "a"]}, r"the column 'a' is named twice; pass each column once"),
        ("mutant,a,b", {"score": []}, r"score: the list is empty; name columns, or omit it"),
        (
            "mutant,a,b",
            {"score": "a", "sd": "b", "weight": "b"},
            r"sd and weight both give weights; pass one",
        ),
        (
            "mutant,a,b",
            {"score": "a", "sd": ["b", "mutant"]},
            r"sd names 2 columns for 1 scores; pass one for each",
        ),
    ],
)
def test_ambiguous_columns_are_listed(tmp_path, header, options, message):
    with pytest.raises(ss.InputError, match=message):
        read(tmp_path / "scan.csv", "K2A,1,1", header=header, **options)


def test_files_without_values_are_refused(tmp_path):
    with pytest.raises(ss.FileError, match="the file has no rows"):
        read(tmp_path / "scan.csv")
    with pytest.raises(
        ss.InputError, match=r"none of the 1 rows has a variant: stop codon, 1 \(line 2: 'M1\*'\)"
    ):
        read(tmp_path / "scan.csv", "M1*,1")
    with pytest.raises(
        ss.InputError, match=r"no variant has a value: no value of 'score', 1 \(line 2: 'M1A'\)"
    ):
        read(tmp_path / "scan.csv", "M1A,NaN")
    for wrong in ("high", "inf"):
        with pytest.raises(
            ss.FileError, match=rf"line 2: '{wrong}' in the column 'score' is not a finite number"
        ):
            read(tmp_path / "scan.csv", f"M1A,{wrong}")
    with pytest.raises(ss.InputError, match=r"wild_type: .*'1' at position 2"):
        read(tmp_path / "scan.csv", "M1A,1", wild_type="M1")


RNG = np.random.default_rng(5)
LETTERS = "ACDEFG"
PAIRS = ss.Dictionary(orders=2)
SINGLES = RNG.normal(-0.5, 1.0, (6, 20)) * np.isin(list(ss.PROTEIN), list(LETTERS))
SINGLES[np.arange(6), [ss.PROTEIN.index(a) for a in WT]] = 0.0
NOISE = 0.1


def true_scores(codes):
    """Return scores that are additive, except that one of CDE at position 12 and of DEF at 15 add 3."""
    first, second = (
        np.isin(codes[:, i], [ss.PROTEIN.index(a) for a in of]) for i, of in ((1, "CDE"), (4, "DEF"))
    )
    return 1.0 + SINGLES[np.arange(6), codes].sum(axis=1) + 3.0 * (first & second)


def simulated(path, **options):
    """Return a scan of all single and most double mutants with six symbols, with two replicates."""
    rng = np.random.default_rng(1)
    space = ss.SequenceSpace(ss.PROTEIN, 6)
    names = ["WT", *(f"{a}{i}{b}" for i, a in enumerate(WT, 11) for b in LETTERS if a != b)]
    doubles = [f"{a}:{b}" for a, b in itertools.combinations(names[1:], 2) if a[1:3] != b[1:3]]
    names += [name for name in doubles if name == "K12C:A15D" or rng.random() < 0.6]
    wild_type = space.encode([WT])[0]
    codes = np.tile(wild_type, (len(names), 1))
    for row, name in zip(codes, names, strict=True):
        for part in name.split(":") if name != "WT" else []:
            row[int(part[1:3]) - 11] = ss.PROTEIN.index(part[3])
    values = true_scores(codes)[:, None] + rng.normal(0.0, NOISE, (len(codes), 2))
    rows = [f"{name},{a:.6f},{b:.6f}" for name, (a, b) in zip(names, values, strict=True)]
    return read(path, *rows, header="mutant,a,b", score=["a", "b"], start=11, **options)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("scan") / "scan.csv")


@pytest.fixture(scope="module")
def effects(scan):
    return ss.VariantEffects(ss.fit(scan, dictionary=PAIRS), scan)


def test_a_fit_of_variants_is_that_of_their_sequences(scan, effects):
    sketch = ss.fit(scan.codes, scan.values, scan.space, dictionary=PAIRS)
    np.testing.assert_array_equal(sketch.predict(scan.codes), effects._sketch.predict(scan.codes))
    weighted = replace(scan, weights=np.linspace(1, 2, len(scan)))
    one = ss.fit(weighted, dictionary=PAIRS)
    two = ss.fit(scan.codes, scan.values, scan.space, sample_weight=weighted.weights, dictionary=PAIRS)
    np.testing.assert_array_equal(one.predict(scan.codes), two.predict(scan.codes))
    for wrong in ({"y": scan.values}, {"space": scan.space}, {"sample_weight": scan.values}):
        with pytest.raises(ss.InputError, match="variants have their own values"):
            ss.fit(scan, **wrong)


def test_single_mutants_have_effects_with_standard_errors(scan, effects):
    singles = effects.singles()
    assert len(singles) == 6 * 19
    rows = {row["mutation"]: row for row in singles.records()}
    row = rows["K12C"]
    assert (row["position"], row["wild_type"], row["letter"], row["measured"]) == (12, "K", "C", 2)
    index, wild_type = scan.names.index("K12C"), scan.values[:2].mean()
    assert row["measured_effect"] == pytest.approx(scan.values[index : index + 2].mean() - wild_type)
    assert row["effect"] == pytest.approx(np.diff(effects._sketch.predict([WT, "MCVLAG"]))[0])
    distinct = {name for name in scan.names if "K12C" in name.split(":")}
    assert row["variants"] == len(distinct)
    # 14 symbols do not occur; their standard errors are as large as effects are.
    never = rows["K12Y"]
    assert (never["variants"], never["measured"], np.isnan(never["measured_effect"])) == (0, 0, True)
    observed = singles["variants"] > 0
    assert never["stderr"] > 5 * np.median(singles["stderr"][observed])
    truth = np.array([SINGLES[r["position"] - 11, ss.PROTEIN.index(r["letter"])] for r in singles.records()])
    errors = np.abs(singles["effect"] - truth)[observed]
    assert (errors <= 1.96 * singles["stderr"][observed]).mean() > 0.85
    assert 0.5 < np.sqrt(np.mean(errors**2) / np.mean(singles["stderr"][observed] ** 2)) < 1.5
    assert effects.noise == pytest.approx(NOISE, rel=0.1)
    assert singles.top(1)["effect"][0] == singles["effect"][np.argmax(np.abs(singles["effect"]))]
    assert str(singles).startswith("effect by closed form (link identity)\nmutation  position")


def test_epistasis_says_which_pairs_were_measured(scan, effects):
    measured, all_pairs = effects.epistasis(), effects.epistasis("all")
    assert (measured["measured"] > 0).all()
    assert len(measured) == len({name for name in scan.names if ":" in name})
    counts = scan.observed.sum(axis=1)
    assert len(all_pairs) == sum(a * b for a, b in itertools.combinations(counts, 2))
    assert (all_pairs["measured"] > 0).sum() == len(measured)
    assert np.isnan(all_pairs["measured_epistasis"][all_pairs["measured"] == 0]).all()
    planted = np.isin(all_pairs["mutations"], [f"K12{a}:A15{b}" for a in "CDE" for b in "DEF"])
    assert planted.sum() == 9
    assert all_pairs["epistasis"][planted].mean() > 0.8
    assert np.abs(all_pairs["epistasis"][~planted]).mean() < 0.2
    top = next(row for row in measured.records() if row["mutations"] == "K12C:A15D")
    means = {
        name: scan.values[[i for i, other in enumerate(scan.names) if other == name]].mean()
        for name in ("WT", "K12C", "A15D", "K12C:A15D")
    }
    expected = means["K12C:A15D"] - means["K12C"] - means["A15D"] + means["WT"]
    assert top["measured_epistasis"] == pytest.approx(expected)
    named = effects.epistasis(["p.[Lys12Cys;Ala15Asp]", "M11A/V13A"])
    assert named["mutations"] == ["K12C:A15D", "M11A:V13A"]
    assert named["epistasis"][0] == pytest.approx(top["epistasis"], abs=1e-12)
    scores = effects._sketch.predict([WT, "AKVLAG", "MKALAG", "AKALAG"])
    assert named["epistasis"][1] == pytest.approx(scores[3] - scores[1] - scores[2] + scores[0], abs=1e-12)
    with pytest.raises(ss.InputError, match="pairs: variant 1, 'K12C', does not have two substitutions"):
        effects.epistasis(["K12C:A15D", "K12C"])
    with pytest.raises(
        ss.InputError, match="pairs must be 'measured', 'all' or a list of variants, got 'some'"
    ):
        effects.epistasis("some")
    none = replace(scan, codes=scan.codes[scan.n_mutations < 2], values=scan.values[scan.n_mutations < 2])
    assert len(ss.VariantEffects(effects._sketch, none).epistasis()) == 0


@pytest.mark.parametrize("limit", [10**6, 0])
def test_the_best_combinations_of_a_library(scan, effects, limit):
    library = {12: "CDK", 15: "DEF", 16: "A", 13: ""}
    best = effects.best(2, library=library, count=100, limit=limit)
    # The wild-type symbol K at position 12 is not a substitution.
    assert len(best) == 2 * 3 + (2 + 3) * 1
    allowed = {f"{WT[i - 11]}{i}{a}" for i, symbols in library.items() for a in symbols}
    assert all(set(name.split(":")) <= allowed for name in best["mutations"])
    scores = effects._sketch.predict(best["sequence"]) - effects._sketch.predict([WT])
    np.testing.assert_allclose(best["effect"], scores, atol=1e-12)
    assert (np.diff(best["effect"]) <= 0).all()
    observed = effects.best(2, count=10**6)
    assert len(observed) == len(effects.epistasis("all"))
    lowest = effects.best(1, library="all", minimize=True, count=1)
    assert lowest["effect"][0] == pytest.approx(effects.singles()["effect"].min())


def test_substitutions_in_one_row_never_rank_first():
    # Six positions of A; C is good and seen often. D at position 3 is seen once, with an outlier.
    rng = np.random.default_rng(0)
    space = ss.SequenceSpace("ACD", 6)
    codes = np.unique(rng.integers(0, 2, (300, 6)), axis=0).astype(np.uint8)
    values = codes.sum(axis=1) + 0.05 * rng.normal(size=len(codes))
    outlier = np.array([[0, 0, 2, 0, 0, 0]], dtype=np.uint8)
    codes, values = np.concatenate([codes, outlier]), np.append(values, 6.0)
    scan = ss.Variants(space, "AAAAAA", codes, values, [""] * len(codes))
    effects = ss.VariantEffects(ss.fit(scan, progress=False), scan)
    best = effects.best(2, count=100)
    has = np.array(["A3D" in name for name in best["mutations"]])
    # All 20 doubles: the 15 without D, best first, then the 5 with D, best first.
    assert has.tolist() == [False] * 15 + [True] * 5
    assert (np.diff(best["effect"][:15]) <= 0).all()
    assert (np.diff(best["effect"][15:]) <= 0).all()
    trusting = effects.best(2, count=100, min_support=0)
    assert (np.diff(trusting["effect"]) <= 0).all()
    assert "A3D" in trusting["mutations"][0]
    assert sorted(trusting["mutations"]) == sorted(best["mutations"])
    # Support by counting rows.
    for name, support in zip(best["mutations"], best["support"], strict=True):
        cells = [(int(part[1:-1]) - 1, "ACD".index(part[-1])) for part in name.split(":")]
        assert support == min((codes[:, i] == a).sum() for i, a in cells)
    fewer = effects.best(3, count=100, fewer=True)
    assert len(fewer) == 7 + 20 + 30
    assert np.isnan(fewer["stderr"]).all() == np.isnan(best["stderr"]).all()
    assert len(effects.best(2, library=[1, 2], count=9)) == 4
    with pytest.raises(ss.InputError, match="min_support must be at least 0, got -1"):
        effects.best(2, min_support=-1)


def test_a_library_that_does_not_exist_is_refused(effects):
    for library, message in (
        ({17: "A"}, "library: 17 is not a position; they are 11 to 16"),
        ({10: "A"}, "library: a position must be at least 11, got 10"),
        ({12: "1"}, r"library\[12\]: '1' is not in the alphabet"),
        ("some", "library must be 'observed', 'all', a mapping or a list of positions, got 'some'"),
        ({12: "K"}, "mutations must be at most 0, the positions with substitutions in the library, got 1"),
    ):
        with pytest.raises(ss.InputError, match=message):
            effects.best(1, library=library)


@settings(max_examples=30, deadline=None)
@given(
    choices=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    mutations=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_all_mutants_of_a_library_are_listed_once(choices, mutations, seed):
    rng = np.random.default_rng(seed)
    n, row = len(choices), rng.integers(0, 4, len(choices)).astype(np.uint8)
    others = np.zeros((n, 4), dtype=bool)
    for i, count in enumerate(choices):
        others[i, rng.permutation(np.delete(np.arange(4), row[i]))[:count]] = True
    expected = {
        codes
        for codes in itertools.product(range(4), repeat=n)
        if sum(a != b for a, b in zip(codes, row, strict=True)) == mutations
        and all(a == b or others[i, a] for i, (a, b) in enumerate(zip(codes, row, strict=True)))
    }
    assert mutants._numbers_of_mutants(others.sum(axis=1), mutations)[-1] == len(expected)
    if expected:
        listed = [
            tuple(codes) for part in mutants._all_mutants(row, others, mutations) for codes in part.tolist()
        ]
        assert len(listed) == len(expected)
        assert set(listed) == expected
    assert (
        mutants._numbers_of_mutants(np.full(300, 19), 7)[-1] == comb(300, 7) * 19**7
        or comb(300, 7) * 19**7 > 2**53
    )


def posterior_by_definition(variants, cells, variances, priors, shared):
    """Return the covariance of the errors of substitutions: an inverse precision of a linear model."""
    q, wild_type = variants.space.q, variants.wild_type_codes
    rows = [{int(i * q + code[i]) for i in np.flatnonzero(code != wild_type)} for code in variants.codes]
    X = np.array(
        [
            [1.0] + [float(c in row) for c in cells] + [float(set(pair) <= row) for pair in shared]
            for row in rows
        ]
    )
    hidden = [comb(len(row), 2) - sum(set(pair) <= row for pair in shared) for row in rows]
    noise = variances + priors.pair * np.array(hidden)
    before = [priors.wild_type, *[priors.single] * len(cells), *[priors.pair + 0.25] * len(shared)]
    inverse = np.linalg.inv(X.T @ (X / noise[:, None]) + np.diag(1.0 / np.array(before)))
    return inverse[1 : len(cells) + 1, 1 : len(cells) + 1]


@pytest.mark.parametrize("mode", ["pairs", "no pairs", "alone"])
def test_standard_errors_are_those_of_the_linear_model(monkeypatch, mode):
    rng = np.random.default_rng(3)
    space = ss.SequenceSpace(ss.DNA, 5)
    codes = np.where(rng.random((60, 5)) < 0.4, rng.integers(0, 4, (60, 5)), 0).astype(np.uint8)
    variants = ss.Variants(space, "AAAAA", codes, rng.normal(size=60), [""] * 60)
    variances = rng.uniform(0.5, 2.0, 60)
    priors = variant_errors.Priors(1.5, 0.3, 50.0)
    predicted = variant_errors.Predicted(0.0, np.zeros((5, 4)), lambda cells: np.full(len(cells), 0.5))
    cells = np.flatnonzero(variants.observed)
    pairs = [
        pair
        for pair in itertools.combinations(cells.tolist(), 2)
        if (codes[:, pair[0] // 4] == pair[0] % 4) @ (codes[:, pair[1] // 4] == pair[1] % 4).astype(int) > 1
    ]
    if mode == "alone":
        monkeypatch.setattr(variant_errors, "JOINT", 3)
        found = variant_errors._posterior(variants, cells, variances, priors, predicted)
        m = variants.n_mutations
        noise = variances + m * (m - 1) / 2 * 0.3 + np.maximum(m - 1, 0) * 1.5
        expected = [1 / (1 / 1.5 + (1 / noise[codes[:, c // 4] == c % 4]).sum()) for c in cells]
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        return
    if mode == "no pairs":
        monkeypatch.setattr(variant_errors, "JOINT", len(cells))
        pairs = []
    monkeypatch.setattr(variant_errors, "CHUNK", 100)
    found = variant_errors._posterior(variants, cells, variances, priors, predicted)
    np.testing.assert_allclose(
        found, posterior_by_definition(variants, cells, variances, priors, pairs), rtol=1e-9, atol=1e-12
    )
    errors = variant_errors.VariantErrors(cells, found, 7.0, 0.3, 1.0)
    chosen = cells[[0, -1]]
    total = found[[0, 0, -1, -1], [0, -1, 0, -1]].sum() + 0.3
    missing = int(np.setdiff1d(np.arange(20), cells)[0])
    np.testing.assert_allclose(
        errors.of_cells(np.array([chosen, [cells[0], missing]])), np.sqrt([total, found[0, 0] + 7.0 + 0.3])
    )


def test_components_of_the_residuals_are_recovered():
    rng = np.random.default_rng(0)
    mutations = rng.integers(0, 5, 40_000)
    squares = rng.chisquare(1, 40_000) * (0.4 + 0.1 * mutations * (mutations - 1) / 2)
    constant, pair = variant_errors._components(squares, np.ones(40_000), mutations)
    assert (constant, pair) == (pytest.approx(0.4, rel=0.1), pytest.approx(0.1, rel=0.1))
    assert variant_errors._components(np.full(9, 2.0), np.ones(9), np.full(9, 3)) == (
        0.0,
        pytest.approx(2.0 / 3.0),
    )
    constant, pair = variant_errors._components(np.full(9, 2.0), np.ones(9), np.ones(9, dtype=int))
    assert constant == pytest.approx(2.0)
    assert np.isnan(pair)


def test_a_sketch_without_held_out_values_has_no_standard_errors(scan, effects, tmp_path):
    effects._sketch.save(tmp_path / "sketch.safetensors")
    loaded = ss.VariantEffects(ss.load(tmp_path / "sketch.safetensors"), scan)
    assert np.isnan(loaded.singles()["stderr"]).all()
    assert np.isnan(loaded.epistasis()["stderr"]).all()
    np.testing.assert_array_equal(loaded.singles()["effect"], effects.singles()["effect"])
    other = ss.fit(scan.codes, scan.values + 1.0, scan.space, dictionary=PAIRS)
    assert np.isnan(ss.VariantEffects(other, scan).singles()["stderr"]).all()
    # A copy keeps them.
    copy = pickle.loads(pickle.dumps(effects))
    np.testing.assert_array_equal(copy.singles()["stderr"], effects.singles()["stderr"])
    assert pickle.loads(pickle.dumps(scan)).summary() == scan.summary()


def test_values_that_were_held_out_are_found_among_those_of_the_variants(scan):
    # Methods other than regression hold out a fifth of the values.
    chosen = np.random.default_rng(0).permutation(len(scan))[:100]

    def sketch_of(values):
        held = SimpleNamespace(values=values, predictions=values - scan.n_mutations[chosen])
        return SimpleNamespace(_core=SimpleNamespace(held_out=held))

    rows, squares = variant_errors._held_out(sketch_of(scan.values[chosen]), scan, scan.values)
    assert sorted(rows) == sorted(chosen)
    np.testing.assert_allclose(squares, scan.n_mutations[rows] ** 2)
    # Values of others, and equal values of variants with different numbers of substitutions.
    assert variant_errors._held_out(sketch_of(scan.values[chosen] + 1e-9), scan, scan.values) is None
    equal = np.zeros(len(scan))
    assert variant_errors._held_out(sketch_of(equal[chosen]), scan, equal) is None


def test_results_are_on_the_scale_of_the_sketch(scan):
    variants = replace(scan, values=np.exp(scan.values))
    results = ss.VariantEffects(ss.fit(variants, link="log", dictionary=PAIRS), variants)
    row = results.singles().records()[0]
    index = scan.names.index(row["mutation"])
    expected = scan.values[index : index + 2].mean() - scan.values[:2].mean()
    assert row["measured_effect"] == pytest.approx(expected)
    with pytest.raises(ss.InputError, match="variants: "):
        ss.VariantEffects(results._sketch, replace(scan, values=-variants.values)).singles()


def test_effects_need_a_sketch_of_the_same_space(scan, effects):
    other = ss.Sketch(ss.Spectrum(ss.SequenceSpace(ss.DNA, 4), [[0, 0, 0, 0]], [1.0]))
    with pytest.raises(ss.InputError, match=r"the sketch is of .*; fit it to them: ss.fit\(variants\)"):
        ss.VariantEffects(other, scan)
    with pytest.raises(ss.InputError, match=r"variants must be Variants of ss.read_variants, got"):
        ss.VariantEffects(effects._sketch, scan.codes)


def test_tables_are_saved_and_cut(effects, tmp_path):
    singles = effects.singles()
    singles.save(tmp_path / "singles.csv")
    lines = (tmp_path / "singles.csv").read_text().splitlines()
    assert len(lines) == len(singles) + 1
    assert lines[0].startswith('"mutation","position","wild_type","letter","effect"')
    effects.epistasis().save(tmp_path / "pairs.parquet")
    assert pq.read_table(tmp_path / "pairs.parquet").column_names[0] == "mutations"
    part = singles.rows(singles["measured"] > 0)
    assert (part["measured"] > 0).all()
    assert singles.rows([3, 1])["mutation"] == [singles["mutation"][3], singles["mutation"][1]]
    assert len(singles.rows([])) == 0
    assert str(singles.rows([])) == "(no rows)"
    for wrong in ([len(singles)], [-1], [0.5], "no", np.ones(3, dtype=bool)):
        with pytest.raises(ss.InputError, match="indices must be"):
            singles.rows(wrong)
    with pytest.raises(ss.InputError, match="there is no column 'stddev'"):
        singles["stddev"]
    assert repr(part).startswith("VariantTable(")
