"""Tiny pretrained networks with random weights, saved as transformers saves them."""

from __future__ import annotations

import string
from pathlib import Path

WORDS = ("the", "red", "blue", "green", "dog", "cat", "tree", "runs", "sleeps", "today", "again", "lovely", "great")
LETTERS = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), "!", ".", ","]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *LETTERS]
SMALL = {"vocab_size": len(VOCABULARY), "pad_token_id": 0, "max_position_embeddings": 24}
SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
KINDS = {
    "bert": {**SMALL, **SIZES},
    "distilbert": {**SMALL, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 12},
    "roberta": {**SMALL, **SIZES, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3},
    "gpt2": {"vocab_size": len(VOCABULARY), "n_positions": 24, "n_embd": 8, "n_layer": 1, "n_head": 2,
             "bos_token_id": 4, "eos_token_id": 4},
    "t5": {"vocab_size": len(VOCABULARY), "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2,
           "pad_token_id": 0, "eos_token_id": 3},
}  # fmt: skip


def network(folder: Path, kind: str = "bert", seed: int = 0) -> Path:
    """A folder with such a network: settings, weights as safetensors, and a tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = AutoModel.from_config(AutoConfig.for_model(kind, **KINDS[kind]))
    module.save_pretrained(folder)
    tokenizer(kind).save(str(folder / "tokenizer.json"))
    return folder


def tokenizer(kind: str):
    """Word pieces; two marks around a text, one after it for T5 and none for GPT-2, as those have it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(VOCABULARY[:5])
    template = {"gpt2": "$A", "t5": "$A [SEP]"}.get(kind, "[CLS] $A [SEP]")
    made.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    made.enable_padding(length=64)  # what many packed tokenizers come with
    made.enable_truncation(10)
    return made
