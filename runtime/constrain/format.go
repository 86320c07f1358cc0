package constrain

import (
	"maps"
	"slices"
	"strings"
)

// formats are regular expressions of strings that have a format. They are some of those that a
// format allows, of limited length.
var formats = map[string]string{
	"date":      date,
	"time":      clock,
	"date-time": date + "T" + clock,
	"duration":  `P(?:\d{1,4}W|(?:\d{1,4}Y(?:\d{1,4}M(?:\d{1,4}D)?)?|\d{1,4}M(?:\d{1,4}D)?|\d{1,4}D)(?:T` + hours + `)?|T` + hours + `)`,
	"uuid":      `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`,
	"email":     `[A-Za-z0-9_+-]{1,30}(?:\.[A-Za-z0-9_+-]{1,15}){0,2}@` + host,
	"hostname":  host,
	"ipv4":      `(?:` + octet + `\.){3}` + octet,
	"ipv6": strings.ReplaceAll(`(?:h:){7}h|(?:h:){1,7}:|(?:h:){1,6}:h|(?:h:){1,5}(?::h){1,2}|(?:h:){1,4}(?::h){1,3}|`+
		`(?:h:){1,3}(?::h){1,4}|(?:h:){1,2}(?::h){1,5}|h:(?::h){1,6}|:(?:(?::h){1,7}|:)`, "h", "[0-9a-fA-F]{1,4}"),
	"uri": `https?://` + host + `(?::[1-9]\d{0,3})?(?:/(?:[/` + urlText + `]|%[0-9A-F]{2}){0,300})?(?:\?(?:[/?` + urlText + `]|%[0-9A-F]{2}){0,200})?(?:#(?:[/?` + urlText + `]|%[0-9A-F]{2}){0,50})?`,
}

const (
	// A date from the year 1 on. February has 29 days in years that 4 divides, but not 100, and in
	// those that 400 divides.
	date = `(?:(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))` +
		`|(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)`
	clock   = `(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)`
	hours   = `(?:\d{1,4}H(?:\d{1,4}M(?:\d{1,4}S)?)?|\d{1,4}M(?:\d{1,4}S)?|\d{1,4}S)`
	octet   = `(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`
	label   = `[A-Za-z0-9]{1,15}(?:-[A-Za-z0-9]{1,15}){0,2}`
	host    = `(?:` + label + `\.){1,3}[A-Za-z]{2,20}`
	urlText = `A-Za-z0-9._~!$&'()*+,;=:@-`
)

// formatNames lists the formats.
func formatNames() string { return strings.Join(slices.Sorted(maps.Keys(formats)), ", ") }

// textOf is a value that is a text, "" for others.
func textOf(v any) string {
	s, _ := v.(string)
	return s
}
