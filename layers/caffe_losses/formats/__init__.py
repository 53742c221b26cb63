"""Read and write matrices in files. Imports no caffe, and of caffe_losses only what stands beside the folders."""
