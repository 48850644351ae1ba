"""A codec, codes and an index to refuse things to, and the check that nothing of them changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from turboquant_rs import Index, TurboQuant

DIM = 24
RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, DIM)).astype(np.float32)


class Subject:
    """A codec, its codes and an index, with what they answer."""

    def __init__(self, metric: str = "ip") -> None:
        self.q = TurboQuant(DIM, 4, seed=1)
        self.codes = self.q.encode(X)
        self.index = Index(codec=self.q, metric=metric)  # type: ignore[arg-type]
        self.index.add(X, np.arange(50) * 3)

    def state(self) -> tuple[Any, ...]:
        scores, ids = self.index.search(X[:5], 60)
        return (
            repr(self.q),
            self.q.fingerprint,
            self.q.encode(X).to_bytes(),
            self.codes.to_bytes(),
            repr(self.index),
            len(self.index),
            self.index.nbytes,
            self.index.ids.tobytes(),
            scores.tobytes(),
            ids.tobytes(),
            self.index.reconstruct(self.index.ids).tobytes(),
        )


def refuses(
    call: Callable[[], object], message: str, error: type[BaseException] = ValueError, subject: Subject | None = None
) -> None:
    """Assert that ``call`` raises ``error`` itself with exactly ``message``, and that the subject answers as before."""
    before = None if subject is None else subject.state()
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
    assert type(caught.value) is error
    assert subject is None or subject.state() == before
