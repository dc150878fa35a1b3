"""Compute the fixed scale of the depth node with which a measured distance gets its true length."""

from __future__ import annotations

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically

CHANGEABLE = ("set", "nominal")
"""States of the scale that a fixed scale can replace; see `processing.scale_choice.ScaleChoice`."""


def corrected_scale(model: str, a: float, b: float, factor: float) -> tuple[float, float]:
    """Return the scale (a, b) that multiplies all depths by a factor.

    Args:
        model: One of `zoo.record.SCALES`.
        a: Current value of scale.a.
        b: Current value of scale.b.
        factor: True distance / shown distance.
    """
    return (a / factor, b / factor) if model == "inverse_affine" else (a * factor, b * factor)


def request_of(prefix: str, a: float, b: float) -> SetParametersAtomically.Request:
    """Return the request that sets both parameters at once.

    Args:
        prefix: Prefix of the camera's parameters: "" or "NAME.".
        a: New value of scale.a.
        b: New value of scale.b.
    """
    values = {f"{prefix}scale.a": a, f"{prefix}scale.b": b}
    double = ParameterType.PARAMETER_DOUBLE
    parameters = [
        Parameter(name=name, value=ParameterValue(type=double, double_value=value)) for name, value in values.items()
    ]
    return SetParametersAtomically.Request(parameters=parameters)
