package checkpoint

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mop/runtime/config"
)

// SaveOptions says what else goes into a model directory, and how it is cut.
type SaveOptions struct {
	ShardBytes int64             // largest file, bytes; 0 = 5 GB, as Hugging Face cuts
	Files      map[string]string // name in the directory -> file to copy
	Data       map[string][]byte // name in the directory -> contents
}

// ErrExists says that the target of a save is there already.
var ErrExists = errors.New("exists already")

// Save writes a model directory: the tensors are produced one after the other
// and never held. Everything goes to a hidden directory beside the target,
// which takes the target's name only when all of it is on disk: a reader sees a
// whole model or none. What a killed save left behind is removed first.
func Save(dir string, c *config.Config, tensors []Spec, o SaveOptions) (err error) {
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	var total int64
	for _, t := range tensors {
		total += t.bytes()
	}
	if err := CheckFree(parent, total); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	tmp := filepath.Join(parent, "."+filepath.Base(dir)+".incomplete")
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	if err := saveTensors(tmp, tensors, total, o.ShardBytes); err != nil {
		return err
	}
	text, err := config.Marshal(c)
	if err != nil {
		return err
	}
	files := map[string][]byte{configFile: text}
	for name, data := range o.Data {
		files[name] = data
	}
	for name, path := range o.Files {
		if files[name], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	for name, data := range files {
		if err := writeFile(filepath.Join(tmp, name), func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
			return err
		}
	}
	if err := syncDir(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(parent)
}

// bytes is the tensor's stored size.
func (s Spec) bytes() int64 {
	n := int64(s.DType.Size())
	for _, d := range s.Shape {
		n *= int64(d)
	}
	return n
}

func saveTensors(dir string, tensors []Spec, total, limit int64) error {
	if limit <= 0 {
		limit = 5_000_000_000
	}
	var shards [][]Spec
	size := int64(0)
	for _, t := range tensors {
		if len(shards) == 0 || size+t.bytes() > limit {
			shards, size = append(shards, nil), 0
		}
		last := len(shards) - 1
		shards[last] = append(shards[last], t)
		size += t.bytes()
	}
	index := map[string]string{}
	for i, shard := range shards {
		name := singleFile
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		for _, t := range shard {
			index[t.Name] = name
		}
		if err := writeFile(filepath.Join(dir, name), func(w io.Writer) error { return writeShard(w, shard) }); err != nil {
			return err
		}
	}
	if len(shards) == 1 {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{"metadata": map[string]any{"total_size": total}, "weight_map": index}, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, indexFile), func(w io.Writer) error { _, err := w.Write(text); return err })
}

// writeShard writes a safetensors file: wider types first, so that every tensor
// is aligned to its elements.
func writeShard(w io.Writer, tensors []Spec) error {
	tensors = slices.Clone(tensors)
	slices.SortStableFunc(tensors, func(a, b Spec) int { return b.DType.Size() - a.DType.Size() })
	var head strings.Builder
	head.WriteString(`{"__metadata__":{"format":"pt"}`)
	at := int64(0)
	for _, t := range tensors {
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		text, err := json.Marshal(map[string]any{"dtype": t.DType.String(), "shape": shape, "data_offsets": []int64{at, at + t.bytes()}})
		if err != nil {
			return err
		}
		name, _ := json.Marshal(t.Name)
		fmt.Fprintf(&head, ",%s:%s", name, text)
		at += t.bytes()
	}
	head.WriteString("}")
	for head.Len()%8 != 0 {
		head.WriteByte(' ')
	}
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(head.Len()))
	if _, err := w.Write(n[:]); err != nil {
		return err
	}
	if _, err := io.WriteString(w, head.String()); err != nil {
		return err
	}
	for _, t := range tensors {
		c := &counter{w: w}
		if err := t.Write(c); err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		if c.n != t.bytes() {
			return fmt.Errorf("%s: want %d bytes for %v, got %d", t.Name, t.bytes(), t.Shape, c.n)
		}
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// writeFile writes a new file through a buffer and on to the disk.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := bufio.NewWriterSize(f, 1<<20)
	if err := write(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// CheckFree refuses to begin what the disk cannot hold.
func CheckFree(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free disk: %w", err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("want %d bytes of free disk, got %d", need, free)
	}
	return nil
}

// Copy is the spec of a tensor that is stored as it is.
func Copy(t Tensor) Spec {
	return Spec{t.Name, t.DType, t.Shape, func(w Writer) error { _, err := w.Write(t.Data); return err }}
}

// SideFiles lists the files of a model directory that belong to the model and
// are neither config nor weights: tokenizer, chat template, generation defaults.
func SideFiles(dir string) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"tokenizer.json", "tokenizer.model", "tokenizer.bin", "tokenizer_config.json", "special_tokens_map.json",
		"added_tokens.json", "generation_config.json", "chat_template.jinja", "chat_template.json"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode().IsRegular() {
			out[name] = filepath.Join(dir, name)
		}
	}
	return out
}
