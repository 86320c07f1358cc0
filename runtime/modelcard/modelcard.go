// Package modelcard writes the README.md of a model directory: what the model was made
// from, its shapes, what was measured, and how each engine loads it.
package modelcard

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mop/runtime/config"
)

// File is the name of a model card.
const File = "README.md"

// mark is a line by which mop knows its own cards. A card without it is somebody's own.
const mark = "<!-- Written by mop. Remove this line to keep your changes when mop writes the directory again. -->"

// Card is what a model card says, beside what follows from the config.
type Card struct {
	Title    string
	Origin   string // sentences about what the model was made from
	Sections []Section
}

// Section is a further part of a card.
type Section struct {
	Title string
	Text  string // Markdown
}

// Markdown is the text of the card of a model that has the given config. It depends on
// nothing else, so that equal runs write equal files.
func (c Card) Markdown(cfg *config.Config) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- mop\n---\n%s\n\n# %s\n\n%s\n", mark, c.Title, c.Origin)
	fmt.Fprintf(&out, "\n## Shapes\n\n%s", shapes(cfg))
	for _, s := range c.Sections {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", s.Title, strings.TrimSpace(s.Text))
	}
	fmt.Fprintf(&out, "\n## How to load it\n\n%s", loading(cfg))
	return out.Bytes()
}

// Contents is the text of the card that belongs into dir: the README.md that somebody
// wrote there, or else the card itself.
func (c Card) Contents(dir string, cfg *config.Config) []byte {
	if old, err := os.ReadFile(filepath.Join(dir, File)); err == nil && !bytes.Contains(old, []byte(mark)) {
		return old
	}
	return c.Markdown(cfg)
}

// Name is the name by which a card calls a file or a directory.
func Name(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return filepath.Base(path)
}

// shapes is a table with a row for every run of layers of the same shape.
func shapes(c *config.Config) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d parameters, %d layers, hidden size %d, head size %d, vocabulary %d, context %d tokens, %s.\n\n",
		c.Params(), len(c.Layers), c.HiddenSize, c.HeadDim, c.VocabSize, c.MaxPositions, c.DType)
	out.WriteString("| layers | heads | KV heads | neurons |\n|---|---:|---:|---:|\n")
	for i := 0; i < len(c.Layers); {
		j := i
		for j < len(c.Layers) && c.Layers[j] == c.Layers[i] {
			j++
		}
		at := fmt.Sprint(i)
		if j > i+1 {
			at = fmt.Sprintf("%d to %d", i, j-1)
		}
		fmt.Fprintf(&out, "| %s | %d | %d | %d |\n", at, c.Layers[i].Heads, c.Layers[i].KVHeads, c.Layers[i].Intermediate)
		i = j
	}
	return out.String()
}

// loading says how each engine loads the directory.
func loading(c *config.Config) string {
	if c.Multimodal != nil {
		return loadingLLaVA(c)
	}
	code, flag, args := "", "", ""
	about := "Every engine loads this directory as it is; `DIR` stands for its path.\n"
	switch {
	case c.WrittenType() == config.TypeNemotronNAS:
		return nemotron
	case !c.Uniform():
		code, flag, args = ", trust_remote_code=True", " --trust-remote-code", ",trust_remote_code=True"
		about = "Its layers have different shapes. Engines load it with the code in `" + config.RemoteCodeFile + "`, which lies in\nthis directory (`DIR`) and only changes the sizes of transformers' own layers.\n"
	case c.WrittenType() == config.TypeMistral:
		about = "`config.json` calls it a Mistral without a sliding window, which is the same network as a\nLLaMA and loads with any number of heads. `DIR` stands for the path of this directory.\n"
	case c.HiddenSize%c.Layers[0].Heads != 0:
		about = "transformers 5 and vLLM refuse a LLaMA whose number of heads does not divide its hidden\nsize; `mop prune`, `recover` and `import` write a form that they load without `--hf-type llama`.\n"
	}
	return about + strings.NewReplacer("{code}", code, "{flag}", flag, "{args}", args, "~~~", "```", "~", "`").Replace(engines)
}

func loadingLLaVA(c *config.Config) string {
	text, code, about := llava, "", ""
	switch {
	case !c.Nested():
		text = llavaFlat
	case !c.Uniform():
		code, about = ", trust_remote_code=True", llavaCode
	}
	text = strings.NewReplacer("{code}", code, "{about}", about).Replace(text)
	return strings.NewReplacer("~~~", "```", "~", "`").Replace(text)
}

const engines = `
transformers 4.57 and 5:

~~~python
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("DIR"{code})
tokenizer = AutoTokenizer.from_pretrained("DIR"{code})
~~~

PEFT, an adapter of ~mop recover --save-adapter ADAPTER~:

~~~python
from peft import PeftModel
model = PeftModel.from_pretrained(model, "ADAPTER")
~~~

vLLM, lm-evaluation-harness, llama.cpp and mop:

~~~
vllm serve DIR{flag}
lm_eval --model hf --model_args pretrained=DIR{args} --tasks TASK
mop export gguf --model DIR --out model.gguf && llama-cli -m model.gguf
mop run --model DIR --prompt "Once upon a time"
~~~
`

const llava = `It is a LLaVA; ~DIR~ stands for the path of this directory. transformers 4.57 and 5:

~~~python
from transformers import AutoModelForImageTextToText, AutoProcessor
model = AutoModelForImageTextToText.from_pretrained("DIR"{code})
processor = AutoProcessor.from_pretrained("DIR"{code})
~~~
{about}
mop:

~~~
mop run --model DIR --image FILE --prompt "What is in this picture?"
mop eval vqa --model DIR --task scienceqa --questions FILE --images DIRECTORY
~~~
`

const llavaCode = `
The layers of its language model have different shapes. The code in ~modeling_mop_llava.py~,
which lies in this directory, adds the type of the language model to transformers.
`

const llavaFlat = `It is a LLaVA in the layout of LLaVA's own releases; ~DIR~ stands for the path of this
directory. LLaVA's code loads it if all layers of its language model have one shape. mop:

~~~
mop run --model DIR --image FILE --prompt "What is in this picture?"
~~~
`

const nemotron = "vLLM runs it by its own code for Nemotron-NAS; `DIR` stands for the path of this directory:\n\n" +
	"```\nvllm serve DIR --trust-remote-code\n```\n\n" +
	"mop reads it too. For other engines use the directory from which it was exported.\n"
