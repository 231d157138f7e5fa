"""Language models that answer questions: behind an OpenAI-compatible HTTP endpoint, or in this process."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from acclimate.errors import ConfigError, LanguageModelError

if TYPE_CHECKING:
    import requests

KEY, OPENAI_KEY, OPENAI_HOST = "ACCLIMATE_LLM_KEY", "OPENAI_API_KEY", "api.openai.com"
TRIES = 3  # of a request that fails for a passing reason
BACKOFF = 0.5  # seconds before the second of them; then twice as long, and so on
INSTRUCTION = (
    "You describe what pictures look like, for people who will tell them apart by sight. "
    "Answer with one plain sentence and nothing else."
)


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        temperature: of the softmax over tokens; 0.99 as in CuPL (Pratt et al. 2023, arXiv 2209.03320).
        max_tokens: longest answer, 50 as there.
    """

    temperature: float = 0.99
    max_tokens: int = 50


@dataclass(frozen=True)
class Request:
    """One answer that is wanted: a question about a class, and a seed that tells repeated questions apart."""

    class_name: str
    question: str
    seed: int


class Writer(Protocol):
    """A language model.

    Attributes:
        model: its name, for records.
    """

    model: str

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[Request, str]]:
        """Yield each request with its answer, in any order, as they come.

        Raises:
            LanguageModelError: the model does not answer, or not in a way that can be read.
        """
        ...


def open_writer(llm: str, model: str | None = None, timeout: float = 60.0, parallel: int = 4) -> Writer:
    """Return a language model by its address or name.

    Args:
        llm: base URL of an OpenAI-compatible server, such as http://localhost:8000/v1, or a Hub id or folder of a
            causal language model of transformers.
        model: which model of the server; by default the only one that it has.
        timeout: seconds to wait for an answer of a server.
        parallel: requests to a server that are under way at once.

    Raises:
        LanguageModelError: the server does not say which models it has, or has several.
        BackboneError: the model cannot be loaded.
        ConfigError: a model is named beside one.
    """
    if llm.startswith(("http://", "https://")):
        return HTTPWriter(llm, model, timeout, parallel)
    if model is not None:
        raise ConfigError(f"`{model=}` names a model of a server, and `{llm=}` is a model itself; give one")
    return LocalWriter(llm)


class HTTPWriter:
    """A model behind an OpenAI-compatible endpoint (`/chat/completions`): vLLM, Ollama, llama.cpp, hosted ones.

    A key is read from the environment, `ACCLIMATE_LLM_KEY`, or `OPENAI_API_KEY` for OpenAI's own host, and is sent to
    this address alone. It is never written anywhere. Failures that pass (no connection, 429, 5xx) are tried again.

    Args:
        url: base URL, up to and with `/v1`.
        model: name of the model; none asks the server.
        timeout: seconds to wait for an answer.
        parallel: requests under way at once.

    Raises:
        LanguageModelError: see `open_writer`.
    """

    def __init__(self, url: str, model: str | None = None, timeout: float = 60.0, parallel: int = 4) -> None:
        self.url, self.timeout, self.parallel = url.rstrip("/"), timeout, parallel
        self.session = _session(self.url)
        self.model = model or self._only_model()

    def _only_model(self) -> str:
        try:
            found = self._call("GET", "/models")
        except LanguageModelError as error:
            raise LanguageModelError(f"{error}; or name its model with `model`") from None
        try:
            names = [str(entry["id"]) for entry in found["data"]]
        except (KeyError, TypeError):
            raise LanguageModelError(
                f"{self.url}/models gives no list of models ({_shown(found)}); name one with `model`"
            ) from None
        if len(names) != 1:
            listed = ", ".join(names[:8]) or "none"
            raise LanguageModelError(f"{self.url} has {len(names)} models ({listed}); name one with `model`")
        return names[0]

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[Request, str]]:
        """Yield answers as they come, several requests at once; the first failure ends it."""
        waiting = iter(requests)
        with ThreadPoolExecutor(self.parallel) as pool:
            under_way: dict[Future[str], Request] = {
                pool.submit(self._answer, request, sampling): request
                for request in itertools.islice(waiting, self.parallel)
            }
            while under_way:
                done = next(as_completed(under_way))
                request = under_way.pop(done)
                answer = done.result()
                for following in itertools.islice(waiting, 1):
                    under_way[pool.submit(self._answer, following, sampling)] = following
                yield request, answer

    def _answer(self, request: Request, sampling: Sampling) -> str:
        found = self._call(
            "POST",
            "/chat/completions",
            {
                "model": self.model,
                "messages": [
                    {"role": "system", "content": INSTRUCTION},
                    {"role": "user", "content": request.question},
                ],
                "temperature": sampling.temperature,
                "max_tokens": sampling.max_tokens,
                "seed": request.seed,
            },
        )
        try:
            answer = found["choices"][0]["message"]["content"]
        except (IndexError, KeyError, TypeError):
            answer = None
        if not isinstance(answer, str):
            raise LanguageModelError(f"{self.url} answers without a text ({_shown(found)}); is it a chat endpoint?")
        return answer

    def _call(self, verb: str, path: str, content: dict[str, Any] | None = None) -> Any:
        import requests

        try:
            reply = self.session.request(verb, self.url + path, json=content, timeout=self.timeout)
        except requests.Timeout:
            raise LanguageModelError(
                f"{self.url} has not answered within {self.timeout:g} s; give it more with `timeout`, or ask less at "
                "once with `parallel=1`"
            ) from None
        except requests.RequestException as error:
            raise LanguageModelError(
                f"{self.url} cannot be reached ({_reason(error)}); start the server, or correct `llm`"
            ) from None
        if not reply.ok:
            what = f"{reply.status_code} {reply.reason or ''}".strip()
            advice = f"set {KEY} to its key" if reply.status_code in (401, 403) else "see the log of the server"
            if reply.status_code == 404:
                advice = "give its base URL, which ends in /v1 as a rule, and a `model` that it has"
            raise LanguageModelError(f"{self.url}{path} refuses: {what} ({_shown(reply.text)}); {advice}")
        try:
            return reply.json()
        except ValueError:
            raise LanguageModelError(
                f"{self.url}{path} answers with something that is not JSON ({_shown(reply.text)}); give the base URL "
                "of an OpenAI-compatible server"
            ) from None


class LocalWriter:
    """A causal language model of transformers in this process.

    Args:
        name: Hub id or folder.

    Raises:
        BackboneError: it cannot be loaded.
    """

    def __init__(self, name: str) -> None:
        from acclimate.backbones.language import load_language_model

        self.model, self._language_model = name, load_language_model(name)

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[Request, str]]:
        """Yield the answers to each question together, in the order of the questions."""
        for question, group in itertools.groupby(requests, key=lambda request: request.question):
            same = list(group)
            answers = self._language_model.sample(
                question,
                [request.seed for request in same],
                instruction=INSTRUCTION,
                temperature=sampling.temperature,
                max_tokens=sampling.max_tokens,
            )
            yield from zip(same, answers, strict=True)


def _session(url: str) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    host = urlsplit(url).hostname
    key = os.environ.get(KEY) or (os.environ.get(OPENAI_KEY) if host == OPENAI_HOST else None)
    again = Retry(
        TRIES - 1, read=False, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None,
        backoff_factor=BACKOFF, raise_on_status=False,
    )  # fmt: skip
    session = requests.Session()
    session.mount(url, HTTPAdapter(max_retries=again, pool_maxsize=64))
    session.trust_env = host not in ("localhost", "127.0.0.1", "::1")  # no proxy, and no other credentials, for these
    if key:
        session.headers["Authorization"] = f"Bearer {key}"
    return session


def _reason(error: Exception) -> str:
    """Return the innermost reason of a chain of wrapped errors, in a few words."""
    text = str(error)
    for word in ("Connection refused", "Name or service not known", "No route to host", "Connection reset"):
        if word in text:
            return word
    return _shown(text)


def _shown(content: Any) -> str:
    text = " ".join(str(content).split())
    return f"{text[:80]}..." if len(text) > 80 else text or "nothing"
