"""Settings: from where they are read, and what is said of wrong ones."""

import pytest

from aet.config import Config, Section
from aet.errors import ConfigError


def test_defaults_files_mappings_and_settings_themselves_are_read_alike(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("train:\n  epochs: 5\nseed: 3\n")
    from_file = Config.read(path)
    assert from_file == Config.read(str(path)) == Config.read({"train": {"epochs": 5}, "seed": 3})
    assert Config.read(from_file) == from_file
    assert Config.read(None) == Config()
    assert Config.read(from_file, seed=9).seed == 9
    assert Config.read(from_file, seed=9).train.epochs == 5


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    assert Config.read(tmp_path / "empty.yaml") == Config()


def test_settings_do_not_change_under_way():
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 4


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"train": {"epoch": 5}}, r"train\.epoch is unknown. Did you mean 'epochs'\?"),
        ({"modle": {}}, r"modle is unknown. Did you mean 'model'\?"),
        ({"train": {"lr": -1}}, r"train\.lr=-1 is not valid: Input should be greater than 0"),
        ({"train": {"precision": "float16"}}, r"train\.precision='float16' is not valid: .*'float32' or 'bfloat16'"),
        ({"train": {"valid": 1.0}}, r"train\.valid=1\.0 is not valid"),
        ({"train": 5}, r"train=5 is not valid"),
        ({"model": {"first_norm": 1}}, r"model\.first_norm=1 is not valid: Input should be true, false or 'auto'"),
        ({"inputs": {"text": 5}}, r"inputs\.text=5 is not valid"),
        ({"seed": "x", "model": {"dim": 0}}, r"model\.dim=0 is not valid.*seed='x' is not valid"),
        ([1, 2], r"must be names and values, got list"),
        (5, r"must be names and values, got int"),
    ],
)
def test_wrong_settings_are_named_with_their_section(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Config.read(given)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"train: [", r"is no YAML"),
        (b"\xff\xfe\x00", r"is no YAML"),
        (b"- a\n- b\n", r"must hold names and values, got list"),
        (b"just words", r"must hold names and values, got str"),
        (b"!!python/object/apply:os.getcwd []", r"is no YAML"),
    ],
)
def test_files_that_are_no_settings_are_named(tmp_path, content, sentence):
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"settings.yaml {sentence}"):
        Config.read(path)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_files_that_cannot_be_read_are_named(tmp_path, name):
    with pytest.raises(ConfigError, match=r"cannot be read: .* Check its path"):
        Config.read(tmp_path / name)


def test_a_section_names_itself():
    with pytest.raises(ConfigError, match=r"The setting inputs\.audio\.rate is unknown. Known: \."):
        Section.checked("inputs.audio", {"rate": 1})
    with pytest.raises(ConfigError, match=r"inputs\.audio must be names and values, got int 3"):
        Section.checked("inputs.audio", 3)
