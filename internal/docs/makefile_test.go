package docs

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every phony target of the Makefile has a rule: make takes one without for done.
func TestPhonyTargetsHaveRules(t *testing.T) {
	data, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^\.PHONY:(.*)$`).FindSubmatch(data)
	if list == nil {
		t.Fatal("want a line .PHONY")
	}
	for _, target := range strings.Fields(string(list[1])) {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(data) {
			t.Errorf("%s: want a rule", target)
		}
	}
}
