"""Small problems over the inner products of gradients: numpy, double precision, one file each."""
