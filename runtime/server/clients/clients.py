"""Checks a running server with the official Python client and with lm-evaluation-harness.

    mop serve DIR --port 8000 &
    python clients.py http://127.0.0.1:8000

Made with openai 3.57.0 and lm_eval 0.4.13:

    pip install openai 'lm-eval[api]'

It prints a line for each check and ends with status 1 at the first that fails. With two
further files, questions of arc_easy in llm-foundry's format and the log of `mop eval tasks`,
the log-likelihoods that the harness reads are compared with those, question by question:

    mop eval tasks --model DIR --tasks arc_easy --data zero-shot --bos off --limit 100 --log answers.jsonl
    python clients.py http://127.0.0.1:8000 zero-shot/llm-foundry/arc_easy.jsonl answers.jsonl

The harness adds no BOS to its prompts. The server computes a prompt in passes of other sizes
than `mop eval tasks`, so that sums may differ by rounding; the choice that a question is
answered with must be the same.
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
