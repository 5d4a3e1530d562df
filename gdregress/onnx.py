"""Conversion of fitted models to ONNX, by skl2onnx (``pip install "gdregress[onnx]"``)."""

from .linear import LinearRegression
from .logistic import LogisticRegression

__all__ = ["register"]


def register() -> None:
    """Tell skl2onnx how to convert the estimators of this package; once in a process is enough.

    After it, ``skl2onnx.to_onnx(model, X[:1].astype(numpy.float32))`` converts them, in Pipelines
    too, with the options of scikit-learn's own (``zipmap``, ``raw_scores``). They are converted as
    the models of scikit-learn that predict the same, ``to_sklearn()``: the converter of its
    logistic regression, given another class, takes the softmax of ``(-z, z)`` for the sigmoid of z,
    which is that of 2z, in silence.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.
    """
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )
    from skl2onnx.operator_converters.linear_classifier import convert_sklearn_linear_classifier
    from skl2onnx.operator_converters.linear_regressor import convert_sklearn_linear_regressor

    update_registered_converter(
        LinearRegression,
        "GdregressLinearRegression",
        calculate_linear_regressor_output_shapes,
        _as_scikit_learns(convert_sklearn_linear_regressor),
    )
    update_registered_converter(
        LogisticRegression,
        "GdregressLogisticRegression",
        calculate_linear_classifier_output_shapes,
        _as_scikit_learns(convert_sklearn_linear_classifier),
        options={
            "zipmap": [True, False, "columns"],
            "nocl": [True, False],
            "output_class_labels": [False, True],
            "raw_scores": [True, False],
        },
    )


def _as_scikit_learns(convert):
    """A converter that puts scikit-learn's model in the place of the operator's."""

    def converted(scope, operator, container):
        model = operator.raw_operator
        operator.raw_operator = twin = model.to_sklearn()
        # Options belong to a model, by its identity.
        options = container.get_options(model, {})
        container.options = {**(container.options or {}), id(twin): options}
        try:
            convert(scope, operator, container)
        finally:
            operator.raw_operator = model

    return converted
