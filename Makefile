# Each line is a command that you could type.
export CGO_ENABLED = 0
LDFLAGS = -ldflags='-s -w'

.PHONY: build run shell test race lint bench clean

build:
	go build -trimpath $(LDFLAGS) -o bin/ ./07-runtime/cmd/...

run: build
	bin/drydock run hello

shell: build
	bin/drydock run -it --rm box

test:
	CGO_ENABLED= go test ./...

race:
	CGO_ENABLED=1 go test -race ./...

lint:
	.ci/lint

bench: build
	CGO_ENABLED= go test -run '^$$' -bench . ./02-namespaces ./04-overlayfs ./05-networking ./07-runtime/...

clean:
	rm -rf bin
