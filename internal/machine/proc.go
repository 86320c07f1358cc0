package machine

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
)

// procField finds the first "name : value" line.
func procField(file []byte, name string) string {
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, 1<<20) // the flags line is long
	for lines.Scan() {
		key, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// kibibytes reads "64 kB" and "32768K", as the kernel writes them; both count
// 1024 bytes. What is neither is 0.
func kibibytes(s string) int64 {
	number := strings.TrimSpace(strings.TrimRight(s, "KkB "))
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<50 || number == s {
		return 0
	}
	return n << 10
}
