from pathlib import Path

import Bio.motifs
import numpy as np
import pytest

from genebert.errors import GenebertError
from genebert.motifs.motif import Motif
from genebert.motifs.read import read_motifs

GOOD = """\
MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies (from uniform):
A 0.30000 C 0.20000 G 0.20000 T 0.30000

MOTIF MA1.1 first
letter-probability matrix: alength= 4 w= 3 nsites= 8 E= 0
 0.250000  0.750000  0.000000  0.000000
 0.000000  1.000000  0.000000  0.000000
 0.125000  0.125000  0.500000  0.250000
URL http://example.org/MA1.1

MOTIF MA2.1
letter-probability matrix:
0.5 0.5 0 0
\t.33 .33\t.33 0

"""


def _read(folder: Path, text: str) -> list[Motif]:
    (folder / "motifs.meme").write_text(text)
    return read_motifs(folder / "motifs.meme")


def test_probabilities_become_counts(tmp_path: Path) -> None:
    first, second = _read(tmp_path, GOOD)
    assert (first.matrix_id, first.name) == ("MA1.1", "first")
    assert first.counts.tolist() == [[2, 0, 1], [6, 8, 1], [0, 0, 4], [0, 0, 2]]
    assert (second.matrix_id, second.name) == ("MA2.1", "MA2.1")
    third = 20 / 3  # 20 sites where the file does not say, and columns that add up to 1
    np.testing.assert_allclose(second.counts, [[10, third], [10, third], [0, third], [0, 0]])


def test_line_ends_and_the_rest_of_a_meme_report_do_not_matter(tmp_path: Path) -> None:
    whole = GOOD.replace("MEME version 4", "*" * 80 + "\nMEME - Motif discovery tool\nMEME version 5.5")
    odds = "MOTIF MA2.1\nlog-odds matrix: alength= 4 w= 1\n -1 2 -3 4\n"
    for text in (GOOD.replace("\n", "\r\n"), whole.replace("MOTIF MA2.1\n", odds)):
        for motif, usual in zip(_read(tmp_path, text), _read(tmp_path, GOOD), strict=True):
            assert (motif.matrix_id, motif.name) == (usual.matrix_id, usual.name)
            assert motif.counts.tolist() == usual.counts.tolist()


RULE = "-" * 80
REPORT = f"""\
{"*" * 80}
MEME - Motif discovery tool
{"*" * 80}
MEME version 5.5.5 (Release date: Thu Sep 14 08:48:04 2023 +1000)

TRAINING SET
{"*" * 80}
PRIMARY SEQUENCES= crp0.fna
CONTROL SEQUENCES= --none--
ALPHABET= ACGT
Sequence name            Weight Length  Sequence name            Weight Length
-------------            ------ ------  -------------            ------ ------
ce1cg                    1.0000    105  ara                      1.0000    105
{"*" * 80}

{"*" * 80}
MOTIF TGAC MEME-1\twidth =   4  sites =  10  llr = 92  p-value = 1e-3  E-value = 4.1e-009
{"*" * 80}
{RULE}
\tMotif TGAC MEME-1 Description
{RULE}
Simplified        A  ::a:
pos.-specific     C  :::a
{RULE}
\tMotif TGAC MEME-1 position-specific scoring matrix
{RULE}
log-odds matrix: alength= 4 w= 4 n= 1638 bayes= 7.3 E= 4.1e-009
 -1081  -1081  -1081    166
{RULE}

{RULE}
\tMotif TGAC MEME-1 position-specific probability matrix
{RULE}
letter-probability matrix: alength= 4 w= 4 nsites= 10 E= 4.1e-009
 0.000000  0.000000  0.000000  1.000000
 0.000000  0.000000  1.000000  0.000000
 1.000000  0.000000  0.000000  0.000000
 0.000000  1.000000  0.000000  0.000000
{RULE}

{RULE}
\tMotif TGAC MEME-1 regular expression
{RULE}
TGAC
{RULE}

Time  0.20 secs.
"""


def test_the_report_of_meme_itself_is_read(tmp_path: Path) -> None:
    for text in (REPORT, REPORT.replace("w= 4 nsites", "nsites")):
        (motif,) = _read(tmp_path, text)
        assert (motif.matrix_id, motif.name) == ("TGAC", "MEME-1")
        assert motif.counts.tolist() == [[0, 0, 10, 0], [0, 0, 0, 10], [0, 10, 0, 0], [10, 0, 0, 0]]
    (motif,) = _read(tmp_path, REPORT.replace("MOTIF TGAC MEME-1\t", "MOTIF  1\t"))
    assert (motif.matrix_id, motif.name) == ("1", "1")
    for width in (3, 5):
        with pytest.raises(GenebertError, match=f"w= {width}, but 4 lines of probabilities follow"):
            _read(tmp_path, REPORT.replace("w= 4 nsites", f"w= {width} nsites"))


@pytest.mark.parametrize(
    ("old", "new", "said", "line"),
    [
        ("ACGT\n\nstrands", "ACGU\n\nstrands", "alphabet 'ACGU' is not ACGT", 3),
        ("ALPHABET= ACGT", 'ALPHABET "DNA" DNA-LIKE', "is not ACGT", 3),
        ("w= 3", "w= 4", "w= 4, but 3 lines of probabilities follow", 11),
        (" 0.000000  1.000000", " none  1.000000", "w= 3, but 1 lines of probabilities follow", 11),
        ("0.125000  0.500000", "x0.125  0.500000", "could not convert string to float: 'x0.125'", 14),
        ("0.125000  0.500000", "-0.125  0.500000", "a probability is negative", 14),
        ("0.125000  0.500000", "0.500000", "3 probabilities where A, C, G, T are needed", 14),
        ("0.125000  0.500000", "0.125 0.1", "probabilities add up to 0.6", 14),
        ("nsites= 8", "nsites= 0", "nsites is 0", 11),
        ("nsites= 8", "nsites= many", "could not convert string to float: 'many'", 11),
        ("MOTIF MA1.1 first\n", "", "a matrix without a MOTIF line", 10),
        ("MOTIF MA1.1 first", "MOTIF", "a motif has no id", 10),
        ("MOTIF MA2.1\n", "MOTIF MA2.1\nMOTIF MA3.1\n", "'MA2.1' has no letter-probability matrix", 17),
        ("0.5 0.5 0 0\n\t.33 .33\t.33 0\n", "", "'MA2.1' has no matrix", 18),
        ("\t.33", "third .33", "the matrix ends with 'third", 18),
        ("MA2.1", "MA1.1", "motif 'MA1.1' is given twice", None),
    ],
)
def test_a_bad_file_is_refused_by_line(
    tmp_path: Path, old: str, new: str, said: str, line: int | None
) -> None:
    assert old in GOOD
    with pytest.raises(GenebertError) as error:
        _read(tmp_path, GOOD.replace(old, new))
    assert said in str(error.value)
    assert "motifs.meme" + (f" line {line})" if line else "") in str(error.value)


def test_a_file_that_stops_after_a_motif_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="'MA9' has no letter-probability matrix"):
        _read(tmp_path, GOOD + "MOTIF MA9\n")


def test_jaspar_in_meme_format_is_what_biopython_reads(jaspar_file: Path, tmp_path: Path) -> None:
    """The release in the format of its MEME files; Biopython is the second opinion."""
    originals = read_motifs(jaspar_file)
    text = GOOD[: GOOD.index("MOTIF")]
    for motif in originals:
        total = motif.counts.sum(axis=0)
        text += f"MOTIF {motif.matrix_id} {motif.name}\nletter-probability matrix: alength= 4 "
        text += f"w= {len(total)} nsites= {total.max():.0f} E= 0\n"
        text += "".join(
            " " + "  ".join(f"{p:.6f}" for p in column) + "\n" for column in (motif.counts / total).T
        )
        text += f"URL https://jaspar.elixir.no/matrix/{motif.matrix_id}\n\n"
    found = _read(tmp_path, text)
    with (tmp_path / "motifs.meme").open() as handle:
        others = Bio.motifs.parse(handle, "minimal")
    for motif, other, original in zip(found, others, originals, strict=True):
        assert motif.matrix_id == other.name.split()[0] == original.matrix_id
        assert motif.name == original.name
        theirs = np.array([other.counts[base] for base in "ACGT"])
        np.testing.assert_allclose(motif.counts, theirs, atol=1)  # Biopython's are whole
        frequency = original.counts / original.counts.sum(axis=0)
        np.testing.assert_allclose(motif.counts / motif.counts.sum(axis=0), frequency, atol=3e-6)
