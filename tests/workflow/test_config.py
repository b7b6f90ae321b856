import re
import subprocess
import sys

import pytest

from ablations.plan.plan import TOWERS
from ablations.row_config import content_of
from ablations.rows import row_files, table_names
from core import config
from core.choices import SCALES
from core.config import gin_files, gin_text
from core.data.micro import World
from core.errors import ConfigError
from core.experiment.experiment import load
from core.files import ROOT, in_repository
from core.pretrain.pretraining import Pretraining
from reports.layout import read_layout
from tests.support.checkout import BASELINE
from tests.support.formats import put

HEAD = "from __gin__ import dynamic_registration\nfrom core.model import clip4str\n"
ROWS = [path.relative_to(ROOT).as_posix() for table in table_names() for path in row_files(read_layout(table))]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("row", ROWS)
def test_every_row_builds_at_every_scale(row, scale):
    load(row, scale)


def test_the_other_gin_files_build():
    for scale in ("micro", "small"):
        config.build(World, gin_files.world_of(scale))
        assert len({config.build(Pretraining, f"ablations/{scale}/{towers}.gin").steps for towers in TOWERS}) == 1


@pytest.mark.parametrize("scale", ["micro", "paper", "small"])
def test_every_row_of_a_table_trains_or_reads_something_of_its_own(scale):
    for table in table_names():
        layout = read_layout(table)
        files = [row for row in row_files(layout) if scale == "paper" or row.stem not in layout.not_at_micro]
        rows = {row.stem: load(row.relative_to(ROOT), scale) for row in files}
        asked = {name: (row.digest, row.protocol.settings, row.protocol.output) for name, row in rows.items()}
        assert len(set(asked.values())) == len(asked), asked


@pytest.mark.parametrize("scale", ["micro", "paper", "small"])
def test_ways_of_decoding_train_nothing(scale):
    rows = {row.stem: load(row.relative_to(ROOT), scale) for row in row_files(read_layout("table_IX"))}
    baseline = load(BASELINE, scale)
    same = [name for name, row in rows.items() if row.digest == baseline.digest]
    assert same == ["visual-cloze", "visual-ar", "cross-ar", "cross-eq8", "cross-ar-2", "cross-ar-3"]
    assert len({rows[name].protocol.settings for name in same}) == 5


@pytest.mark.parametrize("scale", SCALES)
def test_the_operative_config_parses_back_to_itself(scale, tmp_path):
    first = load("ablations/table_VI/image0-token.gin", scale)
    (tmp_path / "operative.gin").write_text(first.operative)
    second = load(tmp_path / "operative.gin", "smoke")
    assert second.digest == first.digest and second.protocol == first.protocol
    assert gin_text.without_comments(second.operative) == gin_text.without_comments(first.operative)


def variant(tmp_path, *lines):
    path = tmp_path / "row.gin"
    path.write_text("\n".join([f"include '{BASELINE}'", *lines]))
    return path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("IMAGE_FROZN = 0.5", "nothing reads IMAGE_FROZN. Check the spelling; macros in use: .*IMAGE_FROZEN"),
        ("BATCH = %gin.REQUIRED", "row.gin: BATCH is required here and has no value"),
        ("EPOCHS = 3", "EPOCHS = 3.0 and TRAIN_STEPS = 6: give exactly one"),
        ("BATCH = 7", "BATCH = 7 is not a multiple of DEVICE_BATCH = 4"),
        ("include 'ablations/nowhere.gin'", "row.gin: .*ablations/nowhere.gin"),
        ("WEIGHTS = ", "row.gin: "),
        ("TRAIN_DATA = ('real',", "row.gin: .*a bracket or a quotation mark that is opened is not closed"),
        ("TRAIN_DATA = {'real': 1", "row.gin: .*is not closed"),
        ("WEIGHTS = '''clip", "row.gin: .*is not closed"),
        ("TRAIN_DATA = {[1]: 2}", "row.gin: unhashable type"),
        ("ARCH = 'ViT-B-17'", "open_clip knows no architecture 'ViT-B-17'"),
    ],
)
def test_bad_rows_name_file_and_key(tmp_path, line, message):
    with pytest.raises(ConfigError, match=message):
        load(variant(tmp_path, line), "smoke")


def test_files_that_include_each_other_are_named(tmp_path):
    row, below = variant(tmp_path, f"include '{tmp_path / 'below.gin'}'"), tmp_path / "below.gin"
    below.write_text(f"include '{row}'\n")
    message = "row.gin includes .*below.gin includes .*row.gin: take one of these includes out"
    for read in (gin_files.pasted, lambda path: content_of(path, "smoke"), lambda path: load(path, "smoke")):
        with pytest.raises(ConfigError, match=message):
            read(row)


def test_a_checkout_reads_its_own_files_in_another_ones_folder(tmp_path, monkeypatch):
    row = ROOT / BASELINE
    content, digest = content_of(row, "smoke"), load(row, "smoke").digest
    named = [name for name in load(row, "smoke").named if in_repository(name).is_file()]
    monkeypatch.chdir(tmp_path)
    for name in ("ablations/base.gin", BASELINE, "ablations/scale/smoke.gin", "ablations/charsets/94.txt", *named):
        put(tmp_path / name, "DROPOUT = 0.9\n")
    assert content_of(row, "smoke") == content and load(row, "smoke").digest == digest
    assert named and all(in_repository(name) == ROOT / name for name in named)
    put(tmp_path / "beside.gin", "BATCH = 4\n")  # the user's own file, and what it includes from the working directory
    variant(tmp_path, "include 'beside.gin'")
    assert load("row.gin", "smoke").experiment.optimisation.batch == 4
    with pytest.raises(ConfigError, match="base.gin: nothing here sets up Experiment"):
        load("ablations/base.gin", "smoke")


def test_an_include_that_is_not_closed_is_named(tmp_path):
    (tmp_path / "below.gin").write_text("TRAIN_DATA = ('real',\n")
    with pytest.raises(ConfigError, match=r"below.gin: .*is not closed"):
        load(variant(tmp_path, f"include '{tmp_path / 'below.gin'}'"), "smoke")


def test_a_misspelt_argument_and_an_unread_scope_are_errors(tmp_path):
    header = ["from __gin__ import dynamic_registration", "from core.model import decoder", f"include '{BASELINE}'"]
    path = tmp_path / "row.gin"
    path.write_text("\n".join([*header, "decoder.Decoder.droput = 0.2"]))
    with pytest.raises(ConfigError, match="droput"):
        load(path, "smoke")
    path.write_text("\n".join([*header, "visul/decoder.Decoder.dropout = 0.2"]))
    with pytest.raises(ConfigError, match="nothing reads visul/.*dropout"):
        load(path, "smoke")


def test_what_a_replaced_class_would_have_read_may_go_unread_but_not_in_the_row_itself(tmp_path):
    """The visual branch alone builds another tower: base.gin's settings of both towers are not errors, the row's are."""
    visual = "ablations/table_V/recipe.gin"
    load(visual, "smoke")
    for line in ("CONTEXT_LENGTH = 9", "towers.ClipTowers.context_length = 9", "LADDER_REDUCTION = 2"):
        header = "from __gin__ import dynamic_registration\nfrom core.model import towers\n"
        (tmp_path / "row.gin").write_text(f"{header}include '{visual}'\n{line}\n")
        with pytest.raises(ConfigError, match=f"nothing reads .*{line.split(' = ')[0]}"):
            load(tmp_path / "row.gin", "smoke")
        with pytest.raises(ConfigError, match=f"nothing reads .*{line.split(' = ')[0]}"):
            load(visual, "smoke", [line])


def test_unknown_scale_and_missing_file():
    with pytest.raises(ConfigError, match="scale 'huge': expected one of micro, paper, small, smoke"):
        load(BASELINE, "huge")
    with pytest.raises(ConfigError, match="nowhere.gin: no such gin file"):
        load("ablations/nowhere.gin")


def test_only_what_training_reads_identifies_a_run():
    base = load(BASELINE, "smoke")
    assert load(BASELINE, "smoke", ["REFINE_STEPS = 2"]).digest == base.digest
    assert load(BASELINE, "smoke", ["REFINE_STEPS = 2"]).protocol.digest != base.protocol.digest
    assert load(BASELINE, "smoke", ["DROPOUT = 0.2"]).digest != base.digest


def test_the_command_line_says_it_in_one_line(tmp_path):
    path = variant(tmp_path, "IMAGE_FROZN = 0.5")
    done = subprocess.run([sys.executable, "-m", "core.experiment.summary", str(path)], capture_output=True, text=True)
    assert done.returncode == 1 and "nothing reads IMAGE_FROZN" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_lines_below_a_scale_in_brackets_count_at_that_scale(tmp_path):
    lines = ["[paper]", "DROPOUT = 0.2", "[micro]  # a comment", "DROPOUT = 0.3", "EPS = 1e-7", "[smoke]"]
    path = variant(tmp_path, *lines, "DROPOUT = 0.4")
    values = {scale: gin_text.bindings_of(load(path, scale).operative) for scale in SCALES}
    dropout = {"micro": 0.3, "paper": 0.2, "small": 0.1, "smoke": 0.4}
    assert {scale: found["DROPOUT"] for scale, found in values.items()} == dropout
    eps = {"micro": 1e-7, "paper": 1e-6, "small": 1e-6, "smoke": 1e-7}
    assert {scale: found["EPS"] for scale, found in values.items()} == eps
    path.write_text(path.read_text() + "\nDROPOTU = 1\n")
    with pytest.raises(ConfigError, match="nothing reads DROPOTU"):
        load(path, "smoke")
    load(path, "paper")  # what is not read is not wrong either
    with pytest.raises(ConfigError, match=r"\[huge\]: expected one of \[micro\], \[paper\], \[small\], \[smoke\]"):
        load(variant(tmp_path, "[huge]", "DROPOUT = 0.4"), "paper")


def test_a_section_may_be_of_several_scales(tmp_path):
    """Smoke reads what micro reads, and a section of its own replaces it; elsewhere no section replaces another."""
    path = variant(tmp_path, "[paper, small]", "DROPOUT = 0.2", "[ micro,small ]", "EPS = 1e-7", "[smoke]", "EPS = 1e-8")
    found = {scale: gin_text.bindings_of(load(path, scale).operative) for scale in SCALES}
    values = {scale: (bindings["DROPOUT"], bindings["EPS"]) for scale, bindings in found.items()}
    assert values == {"micro": (0.0, 1e-7), "paper": (0.2, 1e-6), "small": (0.2, 1e-7), "smoke": (0.0, 1e-8)}
    path = variant(tmp_path, "[micro, small]", "EPS = 1e-7", "[small]", "EPS = 1e-8")
    with pytest.raises(ConfigError, match=r"row.gin:3: EPS = 1e-07 has no effect, as .*row.gin:5 sets .*; keep one of them"):
        load(path, "small")
    load(path, "micro")
    path = variant(tmp_path, "DROPOUT = 0.3", "[micro, small]", "DROPOUT = 0.4")
    with pytest.raises(ConfigError, match=r"row.gin:2: DROPOUT .*; move the first below \[paper\]$"):
        load(path, "small")
    with pytest.raises(ConfigError, match=r"\[micro, huge\]: expected one of .*, or several as in \[micro, small\]"):
        load(variant(tmp_path, "[micro, huge]", "DROPOUT = 0.4"), "paper")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"DROPOUT = 0.3\ninclude '{BASELINE}'",
            r"row.gin:1: DROPOUT = 0.3 has no effect, as .*\.gin:\d+ sets DROPOUT = 0.0 after",
        ),
        (
            f"include '{BASELINE}'\nDROPOUT = 0.3\nDROPOUT = 0.4",
            r"row.gin:2: DROPOUT = 0.3 .*row.gin:3 sets .*; keep one of them",
        ),
        (
            f"include '{BASELINE}'\nDROPOUT = 0.3\n[micro]\nDROPOUT = 0.4",
            r"row.gin:2: DROPOUT .*; move the first below \[paper\]",
        ),
        (f"include '{BASELINE}'\nBATCH = 48\ninclude 'ablations/scale/{{scale}}.gin'", "row.gin:2: BATCH = 48 has no effect"),
        (
            f"include '{BASELINE}'\nWEIGHTS = None\ninclude 'ablations/variants/large.gin'",
            "row.gin:2: WEIGHTS = None has no effect",
        ),
        (
            f"include 'ablations/variants/large.gin'\ninclude '{BASELINE}'",
            "micro_clip_large.gin:.* has no effect, as .*; put include",
        ),
        (
            f"{HEAD}clip4str.CLIP4STR.max_letters = 5\ninclude '{BASELINE}'",
            "row.gin:3: clip4str.CLIP4STR.max_letters = 5 has no effect, as .*base.gin:.* = 25",
        ),
        (
            f"{HEAD}include '{BASELINE}'\nclip4str.CLIP4STR.max_letters = 5\nimport core.model.clip4str\n"
            "core.model.clip4str.CLIP4STR.max_letters = 6",
            "row.gin:4: clip4str.CLIP4STR.max_letters = 5 has no effect, as .*row.gin:6 sets core.model.clip4str.CLIP4STR",
        ),
    ],
)
def test_a_value_that_does_not_survive_is_an_error(tmp_path, text, message):
    (tmp_path / "row.gin").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path / "row.gin", "micro")


def test_a_value_in_an_included_file_above_its_own_include_is_an_error_too(tmp_path):
    (tmp_path / "idea.gin").write_text(f"DROPOUT = 0.3\ninclude '{BASELINE}'")
    (tmp_path / "row.gin").write_text(f"include '{tmp_path}/idea.gin'\nEPS = 1e-7")
    with pytest.raises(ConfigError, match="idea.gin:1: DROPOUT = 0.3 has no effect"):
        load(tmp_path / "row.gin", "micro")


def test_values_that_survive_are_not_errors(tmp_path):
    """The same value twice, an include that is overridden, a smaller micro, and the command line."""
    lines = ["DROPOUT = 0.3", "DROPOUT = 0.3", "[micro]", "EPS = 1e-7", "[smoke]", "EPS = 1e-8"]
    loaded = load(variant(tmp_path, *lines), "smoke", ["DROPOUT = 0.5"])
    values = gin_text.bindings_of(loaded.operative)
    assert (values["DROPOUT"], values["EPS"]) == (0.5, 1e-8)


def test_a_byte_order_mark_is_read_and_another_encoding_is_named(tmp_path):
    text = f"include '{BASELINE}'\nDROPOUT = 0.3\n"
    (tmp_path / "row.gin").write_text(text, encoding="utf-8-sig")
    assert gin_text.bindings_of(load(tmp_path / "row.gin", "smoke").operative)["DROPOUT"] == 0.3
    (tmp_path / "row.gin").write_text("DROPUOT = 0.3\n" + text, encoding="utf-8-sig")
    with pytest.raises(ConfigError, match="nothing reads DROPUOT"):
        load(tmp_path / "row.gin", "smoke")
    (tmp_path / "row.gin").write_text(text, encoding="utf-16")
    with pytest.raises(ConfigError, match=r"row.gin is UTF-16 \(byte order mark FF FE\); save it as UTF-8"):
        load(tmp_path / "row.gin", "smoke")


def test_a_row_is_three_files_deep_and_base_gin_is_one():
    """The row, what it includes, and what that includes; smoke's scale includes micro's."""
    load("ablations/base.gin", "micro")
    for row in ROWS:
        assert depth(ROOT / row, "paper") <= 3 and depth(ROOT / row, "micro") <= 3, row


def depth(path, scale):
    includes = re.findall(r"^include '(.+)'", gin_files.text_at(path, scale), re.MULTILINE)
    return 1 + max((depth(gin_files.find_include(name, scale), scale) for name in includes), default=0)


def test_the_default_towers_at_paper_scale_are_a_backbone_file():
    ours = load(BASELINE, "paper")
    path = "ablations/backbones/clip_b16.gin"
    assert gin_text.bindings_of((ROOT / path).read_text()).items() <= gin_text.bindings_of(ours.operative).items()


def test_a_row_builds_its_own_model_whatever_is_read_after_it():
    first = load(BASELINE, "smoke", ["DECODER_DEPTH = 2"])
    load(BASELINE, "smoke")
    config.gin.clear_config()
    assert len(first.experiment.model(load_weights=False).visual_decoder.layers) == 2


@pytest.mark.parametrize("text", ["# What if dropout were higher? (to come)\n", "DROPOUT = 0.3\n"])
def test_a_row_without_its_include_is_named(text, tmp_path):
    load(BASELINE, "smoke")  # what was read before counts no more
    (tmp_path / "idea.gin").write_text(text)
    with pytest.raises(ConfigError, match="idea.gin: nothing here sets up Experiment; an include is missing"):
        load(tmp_path / "idea.gin", "smoke")
