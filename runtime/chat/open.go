package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mop/internal/files"
)

// maxFile bounds a file that is read here, in bytes.
const maxFile = 256 << 20

// ErrNone says that a checkpoint brings no template along and that none can be told
// from its tokens.
var ErrNone = errors.New("the model has no chat template")

// Open returns the template of a checkpoint directory, as transformers finds it:
// chat_template.jinja, else chat_template of tokenizer_config.json, else that of
// chat_template.json. Of several named ones it takes the one called default. Without
// any, the tokens decide between the built-in templates, and a LLaVA uses Vicuna's.
// Where nothing decides, the error is ErrNone.
func Open(dir string) (*Template, error) {
	config, err := readObject(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	tokens, err := specialTokens(dir, config)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "chat_template.jinja")
	if source, err := readText(path); err != nil {
		return nil, err
	} else if source != "" {
		return Parse(path, source, tokens)
	}
	for _, name := range []string{"tokenizer_config.json", "chat_template.json"} {
		path := filepath.Join(dir, name)
		object := config
		if name != "tokenizer_config.json" {
			if object, err = readObject(path); err != nil {
				return nil, err
			}
		}
		source, err := templateOf(object["chat_template"])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if source != "" {
			return Parse(path, source, tokens)
		}
	}
	return detect(dir, config, tokens)
}

// OpenNamed returns the template that a user names: a built-in one, or a file with a
// Jinja template. The special tokens are those of the checkpoint directory.
func OpenNamed(name, dir string) (*Template, error) {
	config, err := readObject(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	tokens, err := specialTokens(dir, config)
	if err != nil {
		return nil, err
	}
	if slices.Contains(Builtins(), name) {
		return Builtin(name, tokens)
	}
	source, err := readText(name)
	if err != nil {
		return nil, err
	}
	if source == "" {
		return nil, fmt.Errorf("chat template: want one of %s, or a file with a Jinja template, got %q", strings.Join(Builtins(), ", "), name)
	}
	return Parse(name, source, tokens)
}

// Opener returns a function that opens the template that a user names, or without a name
// the checkpoint's.
func Opener(name, dir string) func() (*Template, error) {
	return func() (*Template, error) {
		if name != "" {
			return OpenNamed(name, dir)
		}
		return Open(dir)
	}
}

// readText reads a file that need not exist.
func readText(path string) (string, error) {
	data, err := files.ReadText(path, maxSource)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

// readObject reads the keys of a JSON file that need not exist.
func readObject(path string) (map[string]json.RawMessage, error) {
	data, err := files.ReadText(path, maxFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := files.CheckLFS(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, fmt.Errorf("%s: want a JSON object: %w", path, err)
	}
	return object, nil
}

// templateOf reads the value of a chat_template key: a template, or a list of named
// ones, of which the one called default counts.
func templateOf(value json.RawMessage) (string, error) {
	if len(value) == 0 || string(value) == "null" {
		return "", nil
	}
	var source string
	if json.Unmarshal(value, &source) == nil {
		return source, nil
	}
	var list []struct{ Name, Template string }
	if json.Unmarshal(value, &list) != nil {
		byName := map[string]string{}
		if json.Unmarshal(value, &byName) != nil {
			return "", errors.New("chat_template: want a string, or a list of {name, template}")
		}
		for name, t := range byName {
			list = append(list, struct{ Name, Template string }{name, t})
		}
	}
	var names []string
	for _, t := range list {
		if t.Name == "default" || len(list) == 1 {
			return t.Template, nil
		}
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return "", fmt.Errorf("chat_template: want one called default, got %s", strings.Join(names, ", "))
}

// tokenNames are the special tokens that a template may write.
var tokenNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// specialTokens reads the texts of the special tokens.
func specialTokens(dir string, config map[string]json.RawMessage) (map[string]string, error) {
	older, err := readObject(filepath.Join(dir, "special_tokens_map.json"))
	if err != nil {
		return nil, err
	}
	tokens := map[string]string{}
	for _, name := range tokenNames {
		for _, object := range []map[string]json.RawMessage{config, older} {
			var content string
			if json.Unmarshal(object[name], &content) != nil {
				var entry struct{ Content string }
				_ = json.Unmarshal(object[name], &entry)
				content = entry.Content
			}
			if content != "" {
				tokens[name] = content
				break
			}
		}
	}
	return tokens, nil
}

// detect chooses a built-in template by what only its models have.
func detect(dir string, config map[string]json.RawMessage, tokens map[string]string) (*Template, error) {
	vocabulary, err := files.Read(filepath.Join(dir, "tokenizer.json"), maxFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	all := string(vocabulary) + string(config["added_tokens_decoder"])
	for _, b := range builtins {
		if b.marker != "" && strings.Contains(all, `"`+b.marker+`"`) {
			return Builtin(b.name, tokens)
		}
	}
	model, err := readObject(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	var kind string
	if json.Unmarshal(model["model_type"], &kind) == nil && (kind == "llava" || kind == "llava_llama") {
		return Builtin("vicuna", tokens)
	}
	return nil, fmt.Errorf("%s: %w: give --chat-template with a file or one of %s", dir, ErrNone, strings.Join(Builtins(), ", "))
}
