"""From class names to a file of reference prompts, by asking a language model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from acclimate.describing.answers import SUFFIX, Answers
from acclimate.describing.writers import INSTRUCTION, Request, Sampling, Writer
from acclimate.errors import DataError, LanguageModelError, RunError
from acclimate.files import write_json
from acclimate.prompts import PromptSet
from acclimate.prompts.questions import ask
from acclimate.training.progress import Progress, Silent

GENERATIONS = 10  # answers to each question, as in CuPL (Pratt et al. 2023, arXiv 2209.03320)
CHARACTERS = 4  # of a token, roughly
SHORTEST = 3  # words of a sentence that says something


class Description:
    """Reference prompts in the making: what is to be asked, and the answers that are there.

    A model is asked nothing before `write` is called, and nothing twice: each answer is kept when it comes, in a file
    beside `out`, and the same call goes on after an interruption.

    Args:
        class_names: the classes.
        prompts: their words and the template.
        out: JSON file for the sentences.
        model: name of the language model.
        questions: see `acclimate.prompts.questions`.
        generations: answers to each question.
        sampling: how they are drawn.
        overwrite: forget what is there.

    Attributes:
        requests: all that is asked, in order; those of one question about one class follow each other.
        missing: those without an answer yet.

    Raises:
        RunError: there are answers that were drawn otherwise, or `out` was not written so.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        prompts: PromptSet,
        out: Path,
        model: str,
        *,
        questions: Sequence[str],
        generations: int = GENERATIONS,
        sampling: Sampling | None = None,
        overwrite: bool = False,
    ) -> None:
        self.class_names, self.out, self.sampling = tuple(class_names), out, sampling or Sampling()
        self.requests = [
            Request(name, question, seed)
            for name in class_names
            for question in ask(questions, name, prompts)
            for seed in range(1, generations + 1)
        ]
        path = out.with_name(out.name + SUFFIX)
        if out.exists() and not path.exists() and not overwrite:
            raise RunError(f"{out} is there, and was not written by a run of this kind; choose another `out`")
        self.answers = Answers(path, {"model": model, **vars(self.sampling)}, overwrite)

    @property
    def missing(self) -> list[Request]:
        """Those requests that have no answer yet."""
        return [request for request in self.requests if request not in self.answers.found]

    @property
    def tokens(self) -> tuple[int, int]:
        """About how many tokens the missing requests send, and how many come back at most."""
        missing = self.missing
        sent = sum(len(INSTRUCTION) + len(request.question) for request in missing) // CHARACTERS
        return sent, self.sampling.max_tokens * len(missing)

    def write(self, writer: Writer, progress: Progress | None = None) -> dict[str, list[str]]:
        """Ask what is missing, write the file, and return the sentences of each class.

        Raises:
            LanguageModelError: the model fails; what it had answered is kept.
            DataError: a class has no sentence that says something; the answers are kept.
            RunError: a file cannot be written.
        """
        progress, missing = progress or Silent(), self.missing
        progress.start("answers", len(missing))
        try:
            for request, answer in writer.answers(missing, self.sampling):
                self.answers.add(request, answer)
                progress.advance(1)
        except LanguageModelError as error:
            kept = len(self.requests) - len(self.missing)
            raise LanguageModelError(
                f"{error}. {kept} of {len(self.requests)} answers are kept in {self.answers.path}; the same command "
                "goes on there"
            ) from None
        progress.finish()
        sentences = self.sentences()
        empty = [name for name, some in sentences.items() if not some]
        if empty:
            raise DataError(
                f"{self.answers.path}: no answer about {', '.join(map(repr, empty[:8]))} says anything; try another "
                "model, more `generations` or more `max_tokens`"
            )
        write_json(self.out, sentences)
        return sentences

    def sentences(self) -> dict[str, list[str]]:
        """Return the distinct sentences of each class among the answers that are there, by the order of questions."""
        found: dict[str, dict[str, str]] = {name: {} for name in self.class_names}
        for request in self.requests:
            sentence = first_sentence(self.answers.found.get(request, ""))
            if sentence:
                found[request.class_name].setdefault(sentence.lower(), sentence)
        return {name: list(some.values()) for name, some in found.items()}


def first_sentence(answer: str) -> str:
    """Return the first sentence of an answer without its full stop, or nothing where it has too few words.

    >>> first_sentence("- Small **round** roofs in rows. There may be more.")
    'Small round roofs in rows'
    """
    text = " ".join(re.sub(r"[*_`#]+", "", answer).split()).strip("\"' ")
    text = re.sub(r"^(?:[-\u2022\u2013]|\d+[.)])\s+", "", text)
    text = re.split(r"(?<=[^\W\d_]{2})[.!?](?:\s|$)", text, maxsplit=1)[0].strip(" .\"'")
    return text if len(re.findall(r"[^\W\d_]{2,}", text)) >= SHORTEST else ""
