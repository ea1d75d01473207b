"""Make the tiny model that the real-engine tests serve: random weights, a real tokenizer, no hub.

    ENGINE_PYTHON scripts/make_tiny_model.py FOLDER

A Llama of 5.2 M parameters in bf16 (10.5 MB) with a byte-level BPE tokenizer trained on the standard
library's sources. Every number is fixed; the tokenizer differs between Python versions, as the sources do.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOCABULARY = 4096
CONTEXT_TOKENS = 4096
SEED = 0
TRAINING_FILES = 200
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<s>' + message['role'] + '\n' + message['content'] + '</s>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)


def main() -> int:
    """Write the model to the folder that the command line names; return the exit status."""
    if len(sys.argv) != 2:
        print("usage: ENGINE_PYTHON scripts/make_tiny_model.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    tokenizer = _tokenizer()
    model = _model(tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{folder}: {model.num_parameters():,} parameters, {len(tokenizer)} tokens")
    return 0


def _tokenizer() -> Any:
    tokenizers = importlib.import_module("tokenizers")
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_sources(), trainer)
    wrapped = importlib.import_module("transformers").PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=CONTEXT_TOKENS,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def _sources() -> Iterator[str]:
    """Yield the same files of the standard library in the same order."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:TRAINING_FILES]:
        yield path.read_text("utf-8", errors="replace")


def _model(tokenizer: Any) -> Any:
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    torch.manual_seed(SEED)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return transformers.LlamaForCausalLM(config).to(torch.bfloat16)


if __name__ == "__main__":
    sys.exit(main())
