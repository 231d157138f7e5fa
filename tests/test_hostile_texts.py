"""Whatever stands in a file that people write, its reader gives a result or one line that fits a screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from acclimate.bench import read_spec
from acclimate.data import load_captions, load_data, load_questions
from acclimate.errors import AcclimateError
from acclimate.prompts import read_names_file, read_templates
from acclimate.prompts.references import read_reference_prompts

CLASSES = ["cat", "dog"]
SPEC = b"data: {a: a}\nmethods: [zero-shot]\nsuites: [{protocol: few-shot, data: a}]\n"
READERS = {
    "spec.yaml": (SPEC, read_spec),
    "names.yaml": (b"cat: a cat\ndog: no\n", lambda path: read_names_file(path, CLASSES)),
    "names.json": (b'{"cat": "a cat",\n"dog": "a dog"}\n', lambda path: read_names_file(path, CLASSES)),
    "names.csv": (b"class,words\ncat,a cat\ndog,a dog\n", lambda path: read_names_file(path, CLASSES)),
    "prompts.yaml": (b"cat: [a cat]\ndog: small\n", lambda path: read_reference_prompts(path, CLASSES)),
    "templates.yaml": (b"- a photo of a {}.\n- x {}\n", read_templates),
    "templates.txt": (b"a photo of a {}.\n{} here\n", read_templates),
    "labels.csv": (b"path,label,group\n0.png,cat,g\n1.png,dog,\n", load_data),
    "labels.jsonl": (b'{"path": "0.png", "label": "cat"}\n{"path": "1.png", "label": 1}\n', load_data),
    "list.json": (b'{"train": [["0.png", 0, "cat"],\n["1.png", 1, "dog"]]}\n', load_data),
    "captions.json": (
        b'{"images": [{"id": 1, "file_name": "0.png"}],\n"annotations": [{"image_id": 1, "caption": "a cat"}]}\n',
        load_captions,
    ),
    "questions.json": (
        b'{"questions": [{"question_id": 1, "image_id": 0, "question": "what?"}],\n"annotations": [{"question_id": 1, '
        b'"image_id": 0, "answers": [{"answer": "a cat"}]}]}\n',
        load_questions,
    ),
    "captions.csv": (b"image,caption\n0.png,a cat\n1.png,a dog\n", load_captions),
}
BITS = [
    b"\x00", b"\xff", b'"\\ud800"', b"[" * 3000, b"- " * 2000, b"&a [*a]", b"*a", b"x" * 20_000, b'"', b"9" * 5000,
    b"!!python/object:os.system x", b"? ", b"\xe2\x80\xa8", b"\x1b[31m", b"---\n", b"sep=;\n", b"\xff\xfe",
    b"{a: {b: 1}}", b"\xf0\x9f\x98\x80", b"x\x85y", b"NaN", b"%TAG ! x\n", b"&" + b"k" * 5000 + b" v",
    b",,,,", b"{}" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_hostile_texts(tmp_path: Path, name: str) -> None:
    for number in range(2):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    content, read = READERS[name]
    path = tmp_path / name
    refused = []
    for bit in BITS:
        for place in (0, content.index(b"\n") + 1, len(content) // 2):
            path.write_bytes(content[:place] + bit + content[place:])
            try:
                read(path)
            except AcclimateError as error:
                refused.append(str(error))
    assert len(refused) > len(BITS)
    assert [message for message in refused if len(message) >= 600 or len(message.splitlines()) != 1] == []
    path.write_bytes(content)
    assert read(path)
