"""Pretrained text networks: loaded from their files, or built again from their settings, without any code of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from aet.errors import ConfigError
from aet.inputs.pieces import Marks
from aet.inputs.pretrained_files import TOKENIZERS, WEIGHTS, found, package, read_json, unreadable, whole

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OWN = ("_name_or_path", "transformers_version", "id2label", "label2id", "dtype", "torch_dtype")
"""Of a network's settings, what says nothing about its tokens; it is trained in single precision."""
LOCAL = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True)
class Pretrained:
    """A network, its settings (JSON-able), its tokenizer and its marks."""

    module: nn.Module
    settings: dict[str, Any]
    tokenizer: Tokenizer
    marks: Marks
    longest: int | None
    """Pieces that fit into one pass, marks among them; None if it does not say."""


def pretrained(name: str) -> Pretrained:
    """The network `name`: "minilm", a folder, or a name of the hub.

    Raises ConfigError if it is not here and cannot be had, if files are missing or damaged, if its weights are pickles.
    """
    folder = found(name)
    whole(folder)
    transformers = package("transformers", name)
    from safetensors import SafetensorError

    try:
        with quiet():
            config = transformers.AutoConfig.from_pretrained(str(folder), **LOCAL)
            module, report = transformers.AutoModel.from_pretrained(
                str(folder), use_safetensors=True, output_loading_info=True, dtype="float32", **LOCAL
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        raise unreadable(folder, error) from error
    if lacking := sorted(key for key in report["missing_keys"] if "pooler" not in key):
        raise ConfigError(
            f"{folder / WEIGHTS} lacks {len(lacking)} weights that {config.model_type!r} needs (first: {lacking[0]}). "
            "It belongs to another network, or is damaged: copy the folder again as a whole."
        )
    tokenizer = read_tokenizer(folder)
    settings = {key: value for key, value in config.to_dict().items() if key not in OWN}
    if (pieces := tokenizer.get_vocab_size()) > config.vocab_size:
        raise ConfigError(
            f"The tokenizer in {folder} knows {pieces:,} pieces and the network {config.vocab_size:,}: "
            "they are not of one model. Copy the folder again as a whole."
        )
    return Pretrained(bare(module), settings, tokenizer, marks(tokenizer, settings), longest(module, settings))


def rebuilt(settings: Mapping[str, Any]) -> nn.Module:
    """The network of these settings with weights yet to be loaded; no file is read."""
    transformers = package("transformers", str(settings.get("model_type")))
    kind, rest = settings["model_type"], {key: value for key, value in settings.items() if key != "model_type"}
    try:
        with quiet():
            config = transformers.AutoConfig.for_model(kind, **rest)
            return bare(transformers.AutoModel.from_config(config, trust_remote_code=False))
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"The run's network {kind!r} cannot be built by transformers {transformers.__version__}: {error}. Install "
            "a newer transformers."
        ) from error


def bare(module: Any) -> nn.Module:
    """What gives hidden states: the encoder of an encoder and decoder, without a pooler that nobody reads."""
    module.config.use_cache = False
    inner: Any = module.get_encoder() if module.config.is_encoder_decoder else module
    if getattr(inner, "pooler", None) is not None:
        inner.pooler = None
    made: nn.Module = inner
    return made


def width(name: str) -> int:
    """Channels of a hidden state of the network `name`; errors as in `pretrained`."""
    folder = found(name)
    whole(folder)
    transformers = package("transformers", name)
    try:
        return int(transformers.AutoConfig.from_pretrained(str(folder), **LOCAL).hidden_size)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise unreadable(folder, error) from error


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, without cutting or padding of its own."""
    if (folder / TOKENIZERS[0]).is_file():
        from tokenizers import Tokenizer

        read_json(folder / TOKENIZERS[0])  # the other parser's errors have no class of their own
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZERS[0]))
    else:
        transformers = package("transformers", str(folder))
        try:
            with quiet():
                tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **LOCAL).backend_tokenizer
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
            raise unreadable(folder, error) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def marks(tokenizer: Tokenizer, settings: Mapping[str, Any]) -> Marks:
    """The marks that a tokenizer puts around a text, and those its network knows."""
    encoding = tokenizer.encode("a")
    special = encoding.special_tokens_mask
    first = special.index(0) if 0 in special else len(special)
    last = len(special) - special[::-1].index(0) if 0 in special else len(special)
    names = ("[UNK]", "<unk>", "[MASK]", "<mask>")
    unknown = next((number for name in names if (number := tokenizer.token_to_id(name)) is not None), None)
    pad, others = settings.get("pad_token_id"), (settings.get(f"{name}_token_id") for name in ("bos", "eos"))
    return Marks(
        pad=-1 if pad is None else pad,
        unknown=unknown,
        before=tuple(encoding.ids[:first]),
        after=tuple(encoding.ids[last:]),
        blank=next((number for number in others if isinstance(number, int)), 0),
    )


def longest(module: nn.Module, settings: Mapping[str, Any]) -> int | None:
    """Positions that a network has; networks of the RoBERTa family leave the first ones out."""
    most = settings.get("max_position_embeddings", settings.get("n_positions"))
    for path, part in module.named_modules():
        if path.endswith("position_embeddings") and isinstance(part, nn.Embedding):
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    return int(most) if most else None


@contextmanager
def quiet() -> Iterator[None]:
    """Within the context transformers shows no bars and no warnings: what matters is checked and said here."""
    logging = package("transformers", "").utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
