"""The error that becomes an AWS error on the wire, and the errors that every service shares.

Texts and HTTP statuses are AWS's own ("Common Errors" of the AWS Batch API Reference, and what the signature layer of
the JSON services answers); clients match on them.
"""

from __future__ import annotations


class ApiError(Exception):
    """An error for the caller, answered in the protocol that the request came in.

    `code` is AWS's error type (`ClientException`), `message` is for people, `status` is the HTTP status.
    `names_request` asks for the form that AWS Batch gives to failed validations: `Error executing request, Exception :
    <message>, RequestId: <id>`; the front knows the id and writes it in.
    """

    def __init__(self, code: str, message: str, status: int = 400, *, names_request: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.names_request = names_request

    def text(self, request_id: str) -> str:
        """The message as it is sent."""
        if self.names_request:
            return f"Error executing request, Exception : {self.message}, RequestId: {request_id}"
        return self.message


def client_exception(message: str) -> ApiError:
    """AWS Batch's answer to a request that the caller has to change (HTTP 400), in its bare form."""
    return ApiError("ClientException", message)


def validation_failure(message: str) -> ApiError:
    """AWS Batch's answer to a request that fails validation: the text wrapped together with the request id."""
    return ApiError("ClientException", message, names_request=True)


def internal_failure(code: str) -> ApiError:
    """What a caller learns of a defect of ours: only that there was one. The log has the rest."""
    return ApiError(code, "The request processing has failed because of an internal error.", 500)


def unknown_operation(message: str, status: int = 404) -> ApiError:
    return ApiError("UnknownOperationException", message, status)


def request_too_large(limit: int) -> ApiError:
    return ApiError("RequestEntityTooLargeException", f"Request size exceeded {limit} bytes.", 413)


def access_denied(message: str) -> ApiError:
    return ApiError("AccessDeniedException", message, 403)


def missing_authentication_token() -> ApiError:
    return ApiError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)


def incomplete_signature(message: str) -> ApiError:
    return ApiError("IncompleteSignatureException", message, 400)


def unrecognized_client() -> ApiError:
    return ApiError("UnrecognizedClientException", "The security token included in the request is invalid.", 403)


def invalid_signature(message: str) -> ApiError:
    return ApiError("InvalidSignatureException", message, 403)


def signature_mismatch() -> ApiError:
    return invalid_signature(
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )
