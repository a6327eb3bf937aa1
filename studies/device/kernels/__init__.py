"""A layer of the network as Pallas kernels (Triton): border, 3×3 convolution, bias, ReLU in one pass; its gradients.

A tile of pixels is a matrix `[pixels, channels]`.  Each of the nine samples of the convolution is a load of the tile
moved by one pixel, with reflected indices, and a product with a matrix `[in, out]` on the tensor cores; so neither the
border nor the concatenation of the inputs is ever written to memory.  Where a side has one or two channels, sums of
products do it.

    pixels      tiles of pixels: where they are, how they are read and written
    forward     the layer
    inputs      the gradients of its inputs
    weights     the gradients of its kernel and bias
    layer       all three as one differentiable function

JAX names Pallas' Triton backend deprecated; what these kernels gain has to be weighed against that.
"""
