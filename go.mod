module drydock.example

go 1.26
