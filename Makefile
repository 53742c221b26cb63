.PHONY: help test test-all test-py27 test-math test-image train results triplets triplets-results study study-results \
	real bench clean

MATH = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/caffe-losses/math

help:
	@echo 'make test       run all tests (ARGS: more arguments for pytest)'
	@echo 'make test-all   the same with as many random nets, damaged files and kills as anybody has the time for'
	@echo 'make test-py27  the same with Python 2.7, in a Caffe built for it'
	@echo 'make test-math  the tests that need no Caffe, with this machine'"'"'s python3 and the newest numpy'
	@echo 'make test-image build the Dockerfile on a stand-in for bvlc/caffe:gpu, and test what came out'
	@echo 'make train      train the nets of examples/fashion_mnist and examples/long_tail with every loss, and compare them'
	@echo '                (GPU: its number; ARGS: more arguments for compare.py)'
	@echo 'make results    as train, and keep the figures and the picture that the READMEs show'
	@echo 'make triplets   train embeddings on triplets, in examples/triplets, and look for neighbours in them (GPU, ARGS)'
	@echo 'make triplets-results  as triplets, and keep table and picture'
	@echo 'make study      rerun every claim of the README on whole images and on scenes, and on real data, in'
	@echo '                examples/study: half an hour on two quiet cores; what was trained is kept, so that it can be'
	@echo '                stopped and goes on (GPU, ARGS: of all but real data)'
	@echo 'make real       the part of study that is on real data, 6 minutes'
	@echo 'make study-results  as study, and keep tables and pictures'
	@echo 'make bench      run all benchmarks and make tests/bench/RESULTS.md of what they find, 5 minutes'
	@echo '                (ARGS: names of those to run again, the figures of the others stay; --page: the page alone)'
	@echo 'make bench-losses        only show: the loss layers against native ones (ARGS: more arguments)'
	@echo 'make bench-growth        the same: how their cost grows with classes and positions, and what bounds it'
	@echo 'make bench-by_hand       the same: against layers that people write by hand'
	@echo 'make bench-triplets      the same: the triplet layers'
	@echo 'make bench-native        the same: the infogain loss out of Caffe'"'"'s own layers'
	@echo 'make bench-labels        the same: counting labels against a loop over the records'
	@echo 'make bench-matrix_files  the same: H in files against caffe.io'
	@echo 'make bench-peers         the same: against PyTorch and pytorch-metric-learning, where they are installed'
	@echo '                         (ARGS=--keep: keep the figures for the page)'
	@echo 'make clean      delete what the examples wrote'

test:
	tests/with_caffe_test.sh
	tools/with_caffe.sh sh -c '"$$PYTHON" -m pytest "$$@"' pytest tests $(ARGS)

test-all:
	CAFFE_LOSSES_TEST_ALL=1 $(MAKE) test

test-py27:
	tests/with_caffe_test.sh 2.7
	tools/with_caffe.sh --python 2.7 sh -c '"$$PYTHON" -m pytest "$$@"' pytest tests $(ARGS)

test-math:
	python3 -m venv $(MATH)
	$(MATH)/bin/pip install --quiet --upgrade numpy scipy pytest hypothesis matplotlib setuptools h5py lmdb
	NO_CAFFE=1 $(MATH)/bin/python -m pytest tests $(ARGS)

test-image:
	tests/image_test.sh $(ARGS)

train:
	tools/with_caffe.sh sh examples/fashion_mnist/compare.sh $(if $(GPU),--gpu $(GPU)) $(ARGS)
	tools/with_caffe.sh sh examples/long_tail/compare.sh $(if $(GPU),--gpu $(GPU)) $(ARGS)

results: train
	tools/with_caffe.sh examples/results.py

triplets:
	tools/with_caffe.sh examples/triplets/train.py $(if $(GPU),--gpu $(GPU)) $(ARGS)

triplets-results: triplets
	cd examples/triplets && cp output/RESULTS.md output/results.json output/results.png .

real:
	tools/with_caffe.sh examples/study/real_data.py

study:
	tools/with_caffe.sh examples/study/study.py $(if $(GPU),--gpu $(GPU)) $(ARGS)
	tools/with_caffe.sh examples/study/real_data.py

study-results: study
	cd examples/study && cp output/RESULTS.md output/results.json output/*.png output/real/REAL.md \
		output/real/real_results.json .

WITH_THREADS = OPENBLAS_NUM_THREADS=$(or $(OPENBLAS_NUM_THREADS),1) tools/with_caffe.sh

# The Python with PyTorch is seldom that with Caffe.
PEERS = OPENBLAS_NUM_THREADS=1 $(or $(wildcard $(MATH)/bin/python),python3) tests/bench/bench_peers.py

bench:
	$(if $(ARGS),,$(PEERS) --keep)
	$(WITH_THREADS) tests/bench/bench.py $(ARGS)

bench-peers:
	$(PEERS) $(ARGS)

bench-%:
	$(WITH_THREADS) tests/bench/bench_$*.py $(ARGS)

clean:
	rm -rf examples/*/output examples/*/*_lmdb* examples/*/*.caffemodel examples/*/*.solverstate
