"""Checks a running server with the official Python client and with lm-evaluation-harness.

    mop serve DIR --port 8000 &
    python clients.py http://127.0.0.1:8000

Made with openai 3.57.0 and lm_eval 0.4.13:

    pip install openai 'lm-eval[api]'

It prints a line for each check and ends with status 1 at the first that fails. `make
external-test` runs it where these packages are installed. With two
further files, questions of arc_easy in llm-foundry's format and the log of `mop eval tasks`,
the log-likelihoods that the harness reads are compared with those, question by question:

    mop eval tasks --model DIR --tasks arc_easy --data zero-shot --bos off --limit 100 --log answers.jsonl
    python clients.py http://127.0.0.1:8000 zero-shot/llm-foundry/arc_easy.jsonl answers.jsonl

The harness adds no BOS to its prompts. The server computes a prompt in passes of other sizes
than `mop eval tasks`, so that sums may differ by rounding; the choice that a question is
answered with must be the same.
"""

import datetime
import enum
import json
import sys
import typing

import openai
import pydantic


def check(what, good, got=""):
    print("ok  " if good else "FAIL", what, "" if good else got)
    if not good:
        sys.exit(1)


class Mood(enum.Enum):
    HAPPY = "happy"
    SAD = "sad"


class Cat(pydantic.BaseModel):
    kind: typing.Literal["cat"]
    lives: int = pydantic.Field(ge=1, le=9)


class Dog(pydantic.BaseModel):
    kind: typing.Literal["dog"]
    barks: bool


class Story(pydantic.BaseModel):
    title: str = pydantic.Field(max_length=20)
    mood: Mood
    moods: set[Mood]
    pages: int = pydantic.Field(multiple_of=5, gt=0, le=500)
    score: float = pydantic.Field(ge=0, lt=1)
    day: typing.Optional[datetime.date]


class Owner(pydantic.BaseModel):
    pets: list[typing.Annotated[typing.Union[Cat, Dog], pydantic.Field(discriminator="kind")]] = pydantic.Field(min_length=1, max_length=2)


def structured(c, name):
    """The client makes the schemas of classes, and the answers become objects of these classes."""
    for kind, seed in [(Story, 1), (Story, 2), (Owner, 1), (Owner, 2)]:
        answer = c.chat.completions.parse(model=name, messages=[{"role": "user", "content": "Tell me a story."}], response_format=kind, max_tokens=400, temperature=0.5, seed=seed)
        check(f"a chat of the Pydantic class {kind.__name__}, seed {seed}", isinstance(answer.choices[0].message.parsed, kind), answer)
    response = c.responses.parse(model=name, input="Tell me a story.", text_format=Dog, max_output_tokens=100, temperature=1, store=False)
    check("a response of a Pydantic class", isinstance(response.output_parsed, Dog), response)
    try:
        c.chat.completions.create(model=name, messages=[{"role": "user", "content": "a"}], response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"not": {}}}})
        check("a schema that is not supported is refused", False)
    except openai.BadRequestError as e:
        check("a schema that is not supported is refused", e.param == "response_format.json_schema.schema" and '"not"' in str(e), e)


def client(url):
    c = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
    name = c.models.list().data[0].id
    whole = c.completions.create(model=name, prompt="Once upon a time", max_tokens=12, temperature=0, logprobs=2, seed=1)
    check("completion", whole.usage.completion_tokens == 12 and whole.choices[0].finish_reason == "length", whole)
    text = "".join(p.choices[0].text for p in c.completions.create(model=name, prompt="Once upon a time", max_tokens=12, temperature=0, stream=True))
    check("completion as a stream", text == whole.choices[0].text, text)
    echo = c.completions.create(model=name, prompt="Once upon a time", max_tokens=0, echo=True, logprobs=1)
    check("echo", echo.choices[0].text == "Once upon a time" and echo.choices[0].logprobs.token_logprobs[1] < 0, echo)
    extra = c.completions.create(model=name, prompt="a", max_tokens=9, extra_body={"ignore_eos": True, "min_tokens": 3, "top_k": 5})
    check("extensions", extra.usage.completion_tokens == 9, extra)
    try:
        c.completions.create(model=name, prompt="a", n=10**6)
        check("a million sequences are refused", False)
    except openai.BadRequestError as e:
        check("a million sequences are refused", e.param == "n", e)
    messages = [{"role": "user", "content": "Tell me a story."}]
    try:
        answer = c.chat.completions.create(model=name, messages=messages, max_tokens=12, temperature=0, logprobs=True)
    except openai.BadRequestError as e:
        check("a model without a chat template says so", "chat template" in str(e), e)
        return name
    check("chat", answer.choices[0].message.role == "assistant", answer)
    parts = c.chat.completions.create(model=name, messages=messages, max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True})
    text, usage = "", None
    for p in parts:
        usage = p.usage or usage
        text += "".join(x.delta.content or "" for x in p.choices)
    check("chat as a stream", text == answer.choices[0].message.content and usage.completion_tokens == answer.usage.completion_tokens, text)
    response = c.responses.create(model=name, input="Tell me a story.", max_output_tokens=12, temperature=0, store=False)
    check("response", response.output_text == answer.choices[0].message.content, response)
    text = "".join(e.delta for e in c.responses.create(model=name, input="Tell me a story.", max_output_tokens=12, temperature=0, store=False, stream=True) if e.type == "response.output_text.delta")
    check("response as a stream", text == response.output_text, text)
    structured(c, name)
    return name


def harness(url, name, files):
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    lm = LocalCompletionsAPI(base_url=url + "/v1/completions", model=name, tokenizer_backend="remote", max_length=512)

    def loglikelihoods(pairs):
        return lm.loglikelihood([Instance("loglikelihood", {}, p, i) for i, p in enumerate(pairs)])

    for i, (logprob, greedy) in enumerate(loglikelihoods([("Once upon a time", " there was a girl"), ("Tom went", " to the park.")])):
        check(f"log-likelihood {i}: {logprob:.4f}, greedy {greedy}", logprob < 0)
    text = lm.generate_until([Instance("generate_until", {}, ("Once upon a time", {"until": ["\n"], "max_gen_toks": 8}), 0)])
    check(f"generate_until: {text[0]!r}", bool(text[0]))
    if not files:
        return
    questions = [json.loads(line) for line in open(files[0])]
    answers = [json.loads(line) for line in open(files[1])]
    pairs, sizes = [], []
    for a in answers:
        q = questions[a["question"]]
        pairs += [(q["query"] + "\nAnswer:", " " + c) for c in q["choices"]]
        sizes.append(len(q["choices"]))
    got, worst = [x[0] for x in loglikelihoods(pairs)], 0.0
    for a, n in zip(answers, sizes):
        sums, got = got[:n], got[n:]
        worst = max([worst] + [abs(x - y) / max(1, abs(y)) for x, y in zip(sums, a["sums"])])
        best = max(range(n), key=lambda i: sums[i])
        if (best == a["gold"]) != bool(a["acc"]):
            check(f"question {a['question']}", False, (sums, a["sums"]))
    check(f"{len(answers)} questions as mop eval tasks answers them; log-likelihoods differ by at most {worst:.1e} of their size", worst < 1e-3, worst)


if __name__ == "__main__":
    url = sys.argv[1]
    harness(url, client(url), sys.argv[2:4])
