"""Base classes of the estimators: the conventions of scikit-learn, without a dependency on it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from shapsketch._validate import boolean, choice
from shapsketch.errors import NotFittedError

Self = TypeVar("Self", bound="Estimator")


class Estimator:
    """Base class: ``__init__`` stores parameters unchanged, and ``fit`` checks them.

    Results of ``fit`` are attributes whose names end in ``_``.
    """

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; `deep` has no effect."""
        boolean("deep", deep)
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self: Self, **params: Any) -> Self:
        """Set parameters and return self.

        Raises
        ------
        InputError
            If a name is not a parameter; the message suggests one.
        """
        names = self._parameters()
        for name, value in params.items():
            choice("parameter", name, names)
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn calls this, so it is installed.
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=False),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))

    if not TYPE_CHECKING:
        # Hidden from type checkers, for which every attribute would exist.
        def __getattr__(self, name: str) -> Any:
            """Raise `NotFittedError` for a result of `fit` before `fit`, and `AttributeError` otherwise."""
            annotated = any(name in vars(base).get("__annotations__", {}) for base in type(self).__mro__)
            if annotated and name.endswith("_"):
                kind = type(self).__name__
                raise NotFittedError(f"this {kind} is not fitted, so it has no {name}; call {kind}.fit first")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _check_fitted(self) -> None:
        """Raise `NotFittedError` before `fit`."""
        if not self.__sklearn_is_fitted__():
            name = type(self).__name__
            raise NotFittedError(f"this {name} is not fitted; call {name}.fit first")

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not _equal(value, defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


def _equal(value: object, default: object) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


class Regressor(Estimator):
    """An estimator that predicts values from sequences or codes; a regressor for scikit-learn."""

    # For scikit-learn before 1.6, which does not use tags.
    _estimator_type = "regressor"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, RegressorTags, TargetTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor"
        tags.regressor_tags = RegressorTags()
        tags.target_tags = TargetTags(required=True, one_d_labels=True)
        tags.input_tags = InputTags(one_d_array=True, two_d_array=True, string=True)
        return tags
