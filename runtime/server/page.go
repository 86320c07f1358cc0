package server

import (
	"embed"
	"net/http"
)

//go:embed page
var pageFiles embed.FS

// servePage answers with a file of the page, which uses nothing from other hosts.
func servePage(name, kind string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		data, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			asAPIError(err).write(w)
			return
		}
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		w.Write(data)
	}
}
