package gguf

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"mop/runtime/config"
)

// modelfilePath is the place of the Modelfile of a file.
func modelfilePath(out string) string {
	return strings.TrimSuffix(out, filepath.Ext(out)) + ".Modelfile"
}

// modelfile is the text of a Modelfile, from which Ollama creates a model:
//
//	ollama create NAME -f FILE.Modelfile
func modelfile(out string, c *config.Config, v *vocabulary) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "FROM ./%s\n", filepath.Base(out))
	fmt.Fprintf(&b, "PARAMETER num_ctx %d\n", c.MaxPositions)
	if v == nil {
		return b.Bytes()
	}
	for _, id := range v.ends {
		if !strings.ContainsAny(v.texts[id], "\"\r\n") {
			fmt.Fprintf(&b, "PARAMETER stop \"%s\"\n", v.texts[id])
		}
	}
	b.WriteString("TEMPLATE \"\"\"" + ollamaTemplate(v.chatTemplate) + "\"\"\"\n")
	return b.Bytes()
}

// ollamaTemplate is Ollama's form of a chat template, in the language of Go's
// text/template. Ollama does not read the template of the file itself.
func ollamaTemplate(jinja string) string {
	for _, f := range chatFormats {
		if strings.Contains(jinja, f.mark) {
			return f.template
		}
	}
	return "{{ .Prompt }}"
}

// chatFormats are the usual formats, known by a text that their templates contain.
var chatFormats = []struct{ mark, template string }{
	{"<|im_start|>", "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"},
	{"<|start_header_id|>", "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>\n\n"},
	{"<|user|>", "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}</s>\n{{ end }}<|assistant|>\n"},
	{"[INST]", "{{- if .System }}[INST] <<SYS>>\n{{ .System }}\n<</SYS>>\n\n{{ .Prompt }} [/INST]{{ else }}[INST] {{ .Prompt }} [/INST]{{ end }} {{ .Response }}"},
}
