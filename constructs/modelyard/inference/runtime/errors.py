"""Every refusal, with a code that clients may rely on; the table in the construct's README lists them."""


class ApiError(Exception):
    """Ends the request with a typed answer. `retry_after`: seconds after which trying again makes sense."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


def malformed(message: str) -> ApiError:
    return ApiError(400, "malformed_body", message)


def invalid_instances(message: str) -> ApiError:
    return ApiError(422, "invalid_instances", message)


def too_many_rows(message: str) -> ApiError:
    return ApiError(422, "too_many_rows", message)


def invalid_images(message: str) -> ApiError:
    return ApiError(422, "invalid_images", message)
