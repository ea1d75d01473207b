"""Model folders with a small tokenizer of their own, made here: byte-level BPE, with or without BOS."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

TEXT = "the value of a line is what one of them can see and the other part of it will not come with you now "
MORE = "people give some time to make water long before they were out there this year for all that we know "
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] | trim }}</s>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def tokenizer_made(
    folder: Path, *, bos: bool = True, template: str | None = TEMPLATE, metaspace: bool = False
) -> Tokenizer:
    """Write tokenizer.json and tokenizer_config.json, and return the tokenizer."""
    made = Tokenizer(models.BPE())
    if metaspace:
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
    else:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [TEXT, MORE, "\n".join((TEXT + MORE).split())]  # words at the beginning of a line, too
    made.train_from_iterator(texts * 20, trainer)
    if bos:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>"}
    if template is not None:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return made
