"""One table of tiny models, built from their configurations, that drives the contract tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

DIM = 32


@dataclass(frozen=True)
class Case:
    """`model`, `config`: names in transformers; what the configuration needs beside the common names."""

    model: str
    config: str
    kind: str = "encoder"  # encoder, decoder, both, image, sound, features, pair
    rotary: bool = False
    settings: dict[str, Any] = field(default_factory=dict, hash=False)
    layers: int = 2
    """Attention layers."""

    @property
    def generates(self) -> bool:
        """Whether it writes text."""
        return self.kind != "encoder" and ("For" in self.model or "LMHead" in self.model)

    def build(self, attention: str | None = None) -> nn.Module:
        import transformers

        torch.manual_seed(0)
        settings = {k: v for k, v in {**COMMON.get(self.kind, {}), **self.settings}.items() if v is not None}
        config = getattr(transformers, self.config)(**settings)
        if attention is not None:
            config._attn_implementation = attention
        model = getattr(transformers, self.model)(config).eval()
        with torch.no_grad():
            for p in model.parameters():
                # Weights that start at 0 or 1 would hide what they do.
                p.add_(torch.randn_like(p), alpha=0.05 if p.ndim == 1 else 0.15)
        return model

    def inputs(self, rows: int = 3) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        ids = torch.randint(5, 60, (rows, 6), generator=generator)
        mask = torch.ones(rows, 6, dtype=torch.long)
        mask[0, 4:] = 0
        return {
            "encoder": lambda: {"input_ids": ids, "attention_mask": mask},
            "decoder": lambda: {"input_ids": ids},
            "both": lambda: {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": ids[:, :4]},
            "image": lambda: {"pixel_values": torch.randn(rows, 3, 16, 16, generator=generator)},
            "sound": lambda: {"input_values": torch.randn(rows, 400, generator=generator)},
            "features": lambda: {
                "input_features": torch.randn(rows, 8, 20, generator=generator),
                "decoder_input_ids": ids[:, :4],
            },
            "pair": lambda: {"input_ids": ids, "pixel_values": torch.randn(rows, 3, 16, 16, generator=generator)},
        }[self.kind]()


_TEXT = {
    "vocab_size": 64,
    "hidden_size": DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_IMAGE = {
    "hidden_size": DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 16,
    "patch_size": 8,
}
_SEQ2SEQ = {
    "vocab_size": 64,
    "d_model": DIM,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
COMMON: dict[str, dict[str, Any]] = {
    "encoder": _TEXT,
    "decoder": _TEXT,
    "both": _SEQ2SEQ,
    "image": _IMAGE,
    "sound": {
        **_TEXT,
        "conv_dim": (16, 16),
        "conv_kernel": (10, 3),
        "conv_stride": (5, 2),
        "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "mask_time_prob": 0.0,
    },
    "features": {**_SEQ2SEQ, "num_mel_bins": 8, "max_source_positions": 10, "max_target_positions": 20},
}
_GROUPED = {"num_key_value_heads": 2}

CASES = [
    Case("BertModel", "BertConfig"),
    Case("DistilBertModel", "DistilBertConfig", settings={"dim": DIM, "n_heads": 4, "n_layers": 2, "hidden_dim": 48}),
    Case("RobertaModel", "RobertaConfig"),
    Case("AlbertModel", "AlbertConfig", settings={"embedding_size": 16}, layers=1),
    Case("ElectraModel", "ElectraConfig", settings={"embedding_size": 16}),
    Case("EsmModel", "EsmConfig", rotary=True, settings={"position_embedding_type": "rotary", "mask_token_id": 3}),
    Case(
        "ModernBertModel",
        "ModernBertConfig",
        rotary=True,
        settings={"global_attn_every_n_layers": 2, "local_attention": 8},
    ),
    Case("ViTModel", "ViTConfig", "image"),
    Case("DeiTModel", "DeiTConfig", "image"),
    Case("DINOv3ViTModel", "DINOv3ViTConfig", "image", True),
    Case("BeitModel", "BeitConfig", "image"),
    Case("Dinov2Model", "Dinov2Config", "image"),
    Case(
        "SwinModel",
        "SwinConfig",
        "image",
        settings={
            "patch_size": 2,
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "window_size": 2,
            "num_attention_heads": None,
            "hidden_size": None,
            "num_hidden_layers": None,
        },
        layers=4,
    ),
    Case("SiglipVisionModel", "SiglipVisionConfig", "image", layers=3),
    Case(
        "CLIPModel",
        "CLIPConfig",
        "pair",
        settings={
            "text_config": {**_TEXT, "num_hidden_layers": 1},
            "vision_config": {**_IMAGE, "num_hidden_layers": 1},
            "projection_dim": 16,
        },
    ),
    Case(
        "GPT2LMHeadModel",
        "GPT2Config",
        "decoder",
        settings={"n_embd": DIM, "n_head": 4, "n_layer": 2, "n_positions": 40},
    ),
    Case("OPTForCausalLM", "OPTConfig", "decoder", settings={"ffn_dim": 48, "word_embed_proj_dim": DIM}),
    Case("GPTNeoXForCausalLM", "GPTNeoXConfig", "decoder", True),
    Case("LlamaForCausalLM", "LlamaConfig", "decoder", True, _GROUPED),
    Case("MistralForCausalLM", "MistralConfig", "decoder", True, {**_GROUPED, "sliding_window": 4}),
    Case("Qwen2ForCausalLM", "Qwen2Config", "decoder", True, _GROUPED),
    Case("Qwen3ForCausalLM", "Qwen3Config", "decoder", True, {**_GROUPED, "head_dim": 8}),
    Case("GemmaForCausalLM", "GemmaConfig", "decoder", True, {"num_key_value_heads": 1, "head_dim": 8}),
    Case(
        "Gemma2ForCausalLM",
        "Gemma2Config",
        "decoder",
        True,
        {**_GROUPED, "head_dim": 8, "sliding_window": 4, "attn_logit_softcapping": 2.0},
    ),
    Case("PhiForCausalLM", "PhiConfig", "decoder", True),
    Case("Phi3ForCausalLM", "Phi3Config", "decoder", True, _GROUPED),
    Case("CohereForCausalLM", "CohereConfig", "decoder", True, _GROUPED),
    Case("GlmForCausalLM", "GlmConfig", "decoder", True, {**_GROUPED, "head_dim": 8}),
    Case("FalconForCausalLM", "FalconConfig", "decoder", True),  # calls the kernel itself
    Case("Olmo2ForCausalLM", "Olmo2Config", "decoder", True, _GROUPED),
    Case(
        "GptOssForCausalLM",
        "GptOssConfig",
        "decoder",
        True,
        {**_GROUPED, "head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 4},
    ),
    Case(
        "T5ForConditionalGeneration",
        "T5Config",
        "both",
        settings={"d_kv": 8, "num_heads": 4, "num_layers": 2, "d_ff": 48},
        layers=6,
    ),
    Case("BartForConditionalGeneration", "BartConfig", "both", layers=6),
    Case("WhisperForConditionalGeneration", "WhisperConfig", "features", layers=6),
    Case("Wav2Vec2Model", "Wav2Vec2Config", "sound"),
]
REFUSED = [
    Case("DebertaV2Model", "DebertaV2Config"),
    Case("LongformerModel", "LongformerConfig", settings={"attention_window": 4}),
    Case(
        "XLNetModel",
        "XLNetConfig",
        settings={"d_model": DIM, "n_head": 4, "n_layer": 2, "d_inner": 48, "max_position_embeddings": None},
    ),
    Case("MPNetModel", "MPNetConfig"),
]
