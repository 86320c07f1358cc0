"""Makes golden.json: tables of answers with the scores of lmms-eval's own functions.

    pip install --no-deps lmms-eval==0.7.3 loguru
    python golden.py

The functions are those of lmms_eval/tasks: scienceqa, pope, textvqa and vizwiz_vqa.
"""

import copy
import importlib.metadata
import importlib.util
import json
import pathlib
import sys
import types

HERE = pathlib.Path(__file__).parent
ROOT = pathlib.Path(importlib.util.find_spec("lmms_eval").submodule_search_locations[0])


def load(name):
    """Loads a module of lmms_eval without the packages that its __init__ needs."""
    for package in ("lmms_eval", "lmms_eval.tasks", "lmms_eval.tasks._task_utils", "lmms_eval.tasks._task_utils.file_utils"):
        if package not in sys.modules:
            m = types.ModuleType(package)
            m.__path__ = []
            m.generate_submission_file = None
            sys.modules[package] = m
    spec = importlib.util.spec_from_file_location(name, ROOT / (name.removeprefix("lmms_eval.").replace(".", "/") + ".py"))
    m = importlib.util.module_from_spec(spec)
    sys.modules[name] = m
    spec.loader.exec_module(m)
    return m


metric = load("lmms_eval.tasks._task_utils.vqa_eval_metric")
tasks = {t: load(f"lmms_eval.tasks.{t}.utils") for t in ("scienceqa", "pope", "textvqa", "vizwiz_vqa")}

ANSWERS = [
    "", " ", "yes", "Yes.", "A dog", "the dog", "an apple a day", "THE END.", "The", "two dogs", "Two", "ten", "none", "zero", "One, two", "eleven", "1,000", "1,000 dogs!",
    "10,000,000", "3.5", "3.5.", ".5", "5.", "a.b.c", "u.s.a.", "12.", "no. 5", "dont", "Don't", "don t", "cant", "wont!", "its", "it's", "It's a dog's bone", "he's", "hes",
    "isnt it?", "what's up?", "whats up", "o'clock", "oclock", "yall'd've", "somebody'd", "ow's'at", "Im here", "Ive", "id've", "let's", "she's", "red/blue", "red / blue",
    "red-blue", "red - blue", "(red)", "( red )", "[a]", "{b}", "a=b", "a+b", "1+1=2", "snake_case", "x > y", "x>y", "<tag>", "me@here.com", "`code`", "hello!", "hello !",
    "what?", "say \"hi\"", "say\"hi\"", "back\\slash", "semi;colon", "semi; colon", "tab\tand\nnewline", "  spaced   out  ", "UPPER lower", "naïve café", "日本語", "ÀÉ", "10 %",
    "50%", "$5.00", "#1", "a", "an", "unanswerable", "Unanswerable.", "stop sign", "no stopping", "9:30", "9:30 am", "p.m.", "1, 2, 3", "1 ,2", "..", "...", "a...b", "1.2.3",
    "." * 40 + "x", "x." * 40, "'s", "dogs' bone", "the a an", "none of the two", "“quoted”", "é.è", "٣.٤", "12,5", "x,5", "5,x",
]

ANNOTATORS = [
    ["yes"] * 10, ["yes"] * 9 + ["no"], ["yes"] * 4 + ["no"] * 6, ["yes"] * 3 + ["no"] * 7, ["yes"] * 2 + ["no"] * 8, ["yes"] + ["no"] * 9, ["no"] * 10,
    ["The yes", "yes.", "YES", "a yes"] + ["no"] * 6, ["two", "2", "Two", "2."] + ["three"] * 6, ["cant", "can't", "Cant"] + ["can"] * 7, ["yes"], ["yes", "no"], ["yes", "yes", "no"],
    ["unanswerable"] * 5 + ["stop sign", "stop", "a stop sign", "stop sign.", "sign"],
]


def main():
    process = metric.EvalAIAnswerProcessor()
    out = {"command": "python golden.py", "versions": {"lmms-eval": importlib.metadata.version("lmms-eval"), "python": sys.version.split()[0]},
           "normalized": [[a, process(a)] for a in ANSWERS]}
    rows = []
    for answers in ANNOTATORS:
        for said in ("yes", "Yes.", "the YES", "no", "2", "two", "can't", "cant", "stop sign", "Unanswerable", ""):
            for task, key in (("textvqa", "textvqa"), ("vizwiz_vqa", "vizwiz")):
                doc = {"answers": copy.copy(answers), "question_id": 7, "question": "x"}
                r = getattr(tasks[task], task + "_process_results")(doc, [said])
                rows.append({"task": key, "answers": answers, "text": said, "score": r["exact_match"], "submission": r["submission"]["answer"]})
    out["agreement"] = rows
    rows = []
    for gold in ("yes", "no"):
        for said in ("yes", "no", "Yes", " No\n", "yes.", "Yes, there is", "", "maybe", "NO", "No."):
            rows.append({"label": gold, "text": said})
    results = [tasks["pope"].pope_process_results({"question_id": i, "answer": r["label"]}, [r["text"]])["pope_accuracy"] for i, r in enumerate(rows)]
    for r, s in zip(rows, results):
        r["score"] = s["score"]
    p = tasks["pope"]
    tables = {}
    for name, keep in (("all", range(len(rows))), ("yes only", range(10)), ("no only", range(10, 20)), ("never yes", [1, 3, 6, 11, 12])):
        part = [results[i] for i in keep]
        tables[name] = {"rows": list(keep), "acc": 100 * p.pope_aggregate_accuracy(part), "precision": 100 * p.pope_aggregate_precision(part),
                        "recall": 100 * p.pope_aggregate_recall(part), "f1": 100 * p.pope_aggregate_f1_score(part), "yes_ratio": 100 * p.pope_aggregate_yes_ratio(part)}
    out["pope"] = {"rows": rows, "tables": tables}
    rows = []
    for choices in (["x", "y"], ["x", "y", "z", "w", "v"]):
        for answer in range(len(choices)):
            for said in ("A", "b", " C ", "B.", "A. x", "B. y and more", "b. y", "The text", "", "A and B", "D", "E.", "AB", "(B)", "A\n", "C."):
                doc = {"choices": choices, "answer": answer, "hint": "", "question": "q"}
                rows.append({"choices": choices, "answer": answer, "text": said, "score": tasks["scienceqa"].sqa_process_results(doc, [said])["exact_match"]})
    out["scienceqa"] = rows
    out["prompts"] = [{"hint": h, "question": q, "choices": c, "prompt": tasks["scienceqa"].sqa_doc_to_text(
        {"hint": h, "question": q, "choices": c}, {"format": "default", "pre_prompt": "", "post_prompt": "\nAnswer with the option's letter from the given choices directly."})}
        for h, q, c in (("", "Which?", ["x", "y"]), ("A hint.\nTwo lines", "Which one?", ["1", "2", "3", "4"]))]
    (HERE / "golden.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
