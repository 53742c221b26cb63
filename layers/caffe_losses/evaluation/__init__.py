"""How good decisions are, and whether two methods differ by more than noise. Imports no caffe."""
