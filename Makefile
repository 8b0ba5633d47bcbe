# Each line is a command that you could type.
export CGO_ENABLED = 0
LDFLAGS = -ldflags='-s -w'

.PHONY: build run shell test race lint bench classroom catch-up clean

# The built-in images' programs first: the daemon carries them.
build:
	go build -trimpath $(LDFLAGS) -o 07-runtime/builtin/bin/ ./07-runtime/builtin/cmd/...
	go build -trimpath $(LDFLAGS) -o bin/ ./07-runtime/cmd/...

# Says how long it took, and the run before: the first has to start the daemon.
run: build
	@start=$$(date +%s%3N) && bin/drydock run --rm hello && took=$$(($$(date +%s%3N) - start)) && \
	echo && echo "This run took $$took ms in all.$$(test -f bin/.last && echo " The run before took $$(cat bin/.last) ms.")" && echo $$took > bin/.last

shell: build
	bin/drydock run -it --rm box

test:
	CGO_ENABLED= go test ./...

race:
	CGO_ENABLED=1 go test -race ./...

lint:
	.ci/lint

bench: build
	CGO_ENABLED= go test -run '^$$' -bench . ./02-namespaces ./04-overlayfs ./05-networking ./06-images/... ./07-runtime/...

# A folder for a memory stick: all that a room without internet needs. See vagrant/README.md.
classroom:
	cd vagrant/classroom && GOWORK=off go run . $(CLASSROOM_FLAGS)

# make catch-up CHAPTER=4: ready for chapter 4; what you changed is kept in my-work/.
catch-up:
	go run ./catchup $(CHAPTER)

clean:
	rm -rf bin
