package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// The program that draws the pictures of the pages, as its project publishes it.
const (
	mermaidURL = "https://registry.npmjs.org/mermaid/-/mermaid-12.3.0.tgz"
	mermaidSum = "4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw==" // SHA-512
)

// mermaid puts the program at file, and keeps it at kept for a next time.
func mermaid(ctx context.Context, kept, file string) error {
	if _, err := os.Stat(kept); err != nil {
		if err := fetchMermaid(ctx, kept); err != nil {
			return err
		}
	}
	return copyFile(file, kept)
}

func fetchMermaid(ctx context.Context, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, mermaidURL, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", mermaidURL, answer.Status)
	}
	archive, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if sum := sha512.Sum512(archive); base64.StdEncoding.EncodeToString(sum[:]) != mermaidSum {
		return fmt.Errorf("%s: the bytes are not those that were published: SHA-512 %x", mermaidURL, sum)
	}
	g, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	for t := tar.NewReader(g); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s holds no package/dist/mermaid.min.js", mermaidURL)
		}
		if err != nil {
			return err
		}
		if h.Name == "package/dist/mermaid.min.js" {
			return whole(file, func(w io.Writer) error {
				_, err := io.Copy(w, t)
				return err
			})
		}
	}
}
