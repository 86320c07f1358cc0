package config

import (
	"errors"
	"fmt"
	"os"

	"mop/internal/files"
)

// ReadGeneration takes EOS from a generation_config.json, whose list of token ids counts
// for generating instead of that of config.json. A file that does not exist, or has no
// EOS, changes nothing.
func (c *Config) ReadGeneration(path string) error {
	data, err := files.ReadText(path, maxFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.parseGeneration(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (c *Config) parseGeneration(data []byte) error {
	if err := files.CheckLFS(data); err != nil {
		return err
	}
	if err := CheckJSON(data); err != nil {
		return err
	}
	raw, err := object(data)
	if err != nil {
		return err
	}
	f := &fields{raw: raw}
	if eos := f.ids("eos_token_id"); len(eos) > 0 {
		c.EOS = eos
	}
	return f.err
}
