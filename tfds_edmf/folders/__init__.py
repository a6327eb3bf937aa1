"""One builder class for the data sets that are read from the user's own copy of published folders.

Read in this order:

    patterns   one file name: `lytro-{n}-A.jpg`
    layout     which files of a folder belong to one pair or set
    locate     where in the user's folder or ZIP archive the files are
    pictures   what is stored of an image file
    check      is the copy complete, and can every picture be decoded?
    builder    the TFDS builder that uses all of these
"""
