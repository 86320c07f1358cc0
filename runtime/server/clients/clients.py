"""Checks a running server with the official Python client and with lm-evaluation-harness.

    mop serve DIR --port 8000 &
    python clients.py http://127.0.0.1:8000

Made with openai 3.57.0 and lm_eval 0.4.13:

    pip install openai 'lm-eval[api]'

It prints a line for each check and ends with status 1 at the first that fails. The
log-likelihoods that the harness reads are compared with those of `mop eval tasks` by the
script's option --scores, a file of JSON lines with context, continuation and logprob.
"""

import json
import sys

import openai


def check(what, good, got=""):
    print("ok  " if good else "FAIL", what, "" if good else got)
    if not good:
        sys.exit(1)


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
    return name


def harness(url, name, scores):
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    lm = LocalCompletionsAPI(base_url=url + "/v1/completions", model=name, tokenizer_backend="remote", max_length=512)
    questions = [("Once upon a time", " there was a girl"), ("The dog", " is big"), ("Tom went", " to the park.")]
    want = None
    if scores:
        rows = [json.loads(line) for line in open(scores)]
        questions, want = [(r["context"], r["continuation"]) for r in rows], [r["logprob"] for r in rows]
    got = lm.loglikelihood([Instance("loglikelihood", {}, q, i) for i, q in enumerate(questions)])
    for i, (logprob, greedy) in enumerate(got):
        good = logprob < 0 and (want is None or abs(logprob - want[i]) < 1e-3 * max(1, abs(want[i])))
        check(f"log-likelihood {i}: {logprob:.4f}, greedy {greedy}", good, want and want[i])
    text = lm.generate_until([Instance("generate_until", {}, ("Once upon a time", {"until": ["\n"], "max_gen_toks": 8}), 0)])
    check(f"generate_until: {text[0]!r}", bool(text[0]))


if __name__ == "__main__":
    url = sys.argv[1]
    harness(url, client(url), sys.argv[3] if len(sys.argv) > 3 and sys.argv[2] == "--scores" else None)
