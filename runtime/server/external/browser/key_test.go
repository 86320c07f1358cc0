package browser

import (
	"context"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// openWithKey is open for a server that wants a key: it answers the page's question.
func openWithKey(t *testing.T, url, key string) context.Context {
	t.Helper()
	ctx := start(t)
	chromedp.ListenTarget(ctx, func(event any) {
		if _, ok := event.(*page.EventJavascriptDialogOpening); ok {
			go chromedp.Run(ctx, page.HandleJavaScriptDialog(true).WithPromptText(key))
		}
	})
	show(t, ctx, url)
	return ctx
}
