"""OpenAI's embeddings."""

from __future__ import annotations

from hashlib import blake2b

from flexllm_mock.asgi import ApiRequest, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.embedding import as_base64, as_json, unit_vector
from flexllm_mock.jsontext import canonical, string
from flexllm_mock.openai.errors import OpenAIErrors, unknown_model
from flexllm_mock.openai.inputs import Input, identify, input_tokens, read_inputs
from flexllm_mock.openai.parameters import invalid, missing, whole_number
from flexllm_mock.scripted import Prescribed

_DEFAULT_DIMENSIONS, _MAX_DIMENSIONS = 1536, 4096
_FORMATS = ("float", "base64")


class EmbeddingsEndpoint(OpenAIErrors):
    """`POST {prefix}/embeddings`."""

    methods = frozenset(("POST",))
    generates = True

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._config = config

    def read(self, request: ApiRequest) -> None:
        """Parse the body and identify its content: input and model."""
        identify(request, "input")

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer with a vector for each input, the same for the same text wherever it stands."""
        payload = request.payload or {}
        model = payload.get("model")
        if not isinstance(model, str) or not model:
            raise invalid("model", "a name", model) if "model" in payload else missing("model")
        if self._config.strict_models and model not in self._config.models:
            raise unknown_model(model)
        inputs = read_inputs(payload, "input")
        if "" in inputs:
            raise invalid("input", "texts that are not empty", inputs)
        dimensions = whole_number(payload, "dimensions", 1, _MAX_DIMENSIONS) or _DEFAULT_DIMENSIONS
        encoding = payload.get("encoding_format") or _FORMATS[0]
        if encoding not in _FORMATS:
            raise invalid("encoding_format", " or ".join(_FORMATS), encoding)
        vectors = [self._vector(model, each, dimensions, encoding) for each in inputs]
        data = ",".join(
            [f'{{"object":"embedding","index":{at},"embedding":{vector}}}' for at, vector in enumerate(vectors)]
        )
        tokens = sum([input_tokens(each) for each in inputs])
        body = (
            f'{{"object":"list","data":[{data}],"model":{string(model)},'
            f'"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}'
        )
        return Reply(200, self._request_id(request), body=body.encode(), prompt_tokens=tokens)

    def _vector(self, model: str, content: Input, dimensions: int, encoding: str) -> str:
        key = blake2b(canonical([model, content]), digest_size=32, key=self._key).digest()
        vector = unit_vector(key, dimensions)
        return as_json(vector) if encoding == "float" else string(as_base64(vector))
