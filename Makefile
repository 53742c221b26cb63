.PHONY: help test train clean

help:
	@echo 'make test    run all tests (ARGS: more arguments for pytest)'
	@echo 'make train   train the nets of examples/fashion_mnist and compare them (ARGS: more arguments for train.py)'
	@echo 'make clean   delete what the examples wrote'

test:
	tests/with_caffe_test.sh
	tools/with_caffe.sh sh -c '"$$PYTHON" -m pytest "$$@"' pytest tests $(ARGS)

train:
	tools/with_caffe.sh examples/fashion_mnist/train.py $(ARGS)

clean:
	rm -rf examples/*/output
